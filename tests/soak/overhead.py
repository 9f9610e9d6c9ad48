#!/usr/bin/env python3
"""Processor time of a server's threads while streams run, by the threads' names: what HTTP, JSON and tokenising cost.

    overhead.py http://127.0.0.1:8000 PID [--streams 16] [--seconds 20]
"""

import argparse
import asyncio
import collections
import json
import os
import pathlib
import time

from soak import Server

import hostile


def thread_seconds(pid):
    """Name -> user and system seconds of all threads of that name."""
    seconds = collections.Counter()
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name, fields = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        utime, stime = fields.split()[11:13]
        seconds[name] += (int(utime) + int(stime)) / os.sysconf("SC_CLK_TCK")
    return seconds


async def stream(server, stop):
    while not stop.is_set():
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(hostile.post(json.dumps(hostile.chat(stream=True, max_tokens=1000, ignore_eos=True)).encode(), hostile.PATHS[0]))
        while not stop.is_set():
            try:
                piece = await asyncio.wait_for(reader.read(65536), 1)
            except TimeoutError:
                continue
            if not piece or b"[DONE]" in piece:
                break
        writer.close()


async def measure(server, pid, streams, seconds):
    stop = asyncio.Event()
    tasks = [asyncio.create_task(stream(server, stop)) for _ in range(streams)]
    await asyncio.sleep(3)
    before, tokens, begin = thread_seconds(pid), server.metrics()["vllm:generation_tokens_total"], time.monotonic()
    await asyncio.sleep(seconds)
    after, elapsed = thread_seconds(pid), time.monotonic() - begin
    tokens = server.metrics()["vllm:generation_tokens_total"] - tokens
    stop.set()
    await asyncio.gather(*tasks)
    shares = {name: round(100 * (after[name] - before[name]) / elapsed, 2) for name in after}
    return {"streams": streams, "tokens_per_second": round(tokens / elapsed, 1), "percent_of_a_core": shares}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("pid", type=int)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(measure(Server(arguments.url), arguments.pid, arguments.streams, arguments.seconds)), indent=1))


if __name__ == "__main__":
    main()
