#!/usr/bin/env python3
"""Memory of streams that nobody reads: opens N of them, waits, and compares the server's memory.

    idle_streams.py http://127.0.0.1:8000 [--streams 2000] [--max-tokens 2000] [--wait parked|queued]

The server must let them wait: --max-queued above N, --write-timeout above the time that this takes. `parked` waits until
every stream has been computed so far that its client's socket is full; `queued` until every stream has its head.
"""

import argparse
import json
import resource
import socket
import sys
import time

from soak import Server

import hostile


def open_stream(server, max_tokens):
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(120)
    raw.connect((server.host, server.port))
    body = hostile.completion(stream=True, max_tokens=max_tokens, ignore_eos=True, logprobs=5)
    raw.sendall(hostile.post(json.dumps(body).encode(), "/v1/completions"))
    return raw


def wait_for_heads(streams):
    for raw in streams:
        head = raw.recv(17, socket.MSG_PEEK)
        assert head.startswith(b"HTTP/1.1 200"), head


def wait_until_parked(server, count, seconds=300):
    deadline = time.monotonic() + seconds
    while True:
        waiting, running = (server.metrics()[f"vllm:num_requests_{state}"] for state in ("waiting", "running"))
        if waiting == count and running == 0:
            return
        assert time.monotonic() < deadline, f"{waiting} wait, {running} run"
        time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--max-tokens", type=int, default=2000)
    parser.add_argument("--wait", choices=("parked", "queued"), default="parked")
    parser.add_argument("--limit-kib", type=float, default=40)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    server = Server(arguments.url)
    for raw in [open_stream(server, 1) for _ in range(64)]:  # warm
        received = b""
        while b"[DONE]" not in received:
            received += raw.recv(65536)
        raw.close()
    before = server.wait_until_idle()["process_resident_memory_bytes"]
    streams = [open_stream(server, arguments.max_tokens) for _ in range(arguments.streams)]
    wait_for_heads(streams)
    if arguments.wait == "parked":
        wait_until_parked(server, arguments.streams)
    metrics = server.metrics()
    begin = time.perf_counter()
    server.metrics()
    kib = (metrics["process_resident_memory_bytes"] - before) / 1024 / arguments.streams
    report = {
        "streams": arguments.streams,
        "state": arguments.wait,
        "kib_each": round(kib, 1),
        "metrics_ms": round((time.perf_counter() - begin) * 1e3, 1),
    }
    print(json.dumps(report))
    for raw in streams:
        raw.close()
    server.wait_until_idle()
    sys.exit(kib > arguments.limit_kib)


if __name__ == "__main__":
    main()
