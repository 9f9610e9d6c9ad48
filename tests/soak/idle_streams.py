#!/usr/bin/env python3
"""Memory of streams that nobody reads, or hardly: opens N of them and compares the server's memory.

    idle_streams.py http://127.0.0.1:8000 [--streams 2000] [--max-tokens 2000] [--state parked|queued|slow]

`queued`: the server knows of every stream; few of them run. `parked`: every stream has been computed so far that its
client's socket is full. `slow`: each client reads some bytes a second, for --seconds; the greatest memory counts. The
server must let them wait: --max-queued above N, --write-timeout and --stall-timeout above the time that this takes. Its
KV cache is filled before, and not counted: --max-kv saves time. Beside the process's memory stands what the kernel's TCP
takes, for both ends of the streams where the server is on this machine.
"""

import argparse
import json
import pathlib
import resource
import socket
import sys
import time

from soak import Server, fill_kv_cache

import hostile

BYTES_A_SECOND = 256


def open_stream(server, max_tokens):
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(120)
    raw.connect((server.host, server.port))
    # With log probabilities an event has some 2 KB, so that few tokens fill a socket.
    body = hostile.chat(stream=True, max_tokens=max_tokens, ignore_eos=True, logprobs=True, top_logprobs=20)
    raw.sendall(hostile.post(json.dumps(body).encode(), "/v1/chat/completions"))
    return raw


def socket_bytes():
    """What the kernel holds for all TCP connections of this machine."""
    line = next(line for line in pathlib.Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    return int(line.split()[-1]) * resource.getpagesize()


def wait_until(server, is_reached, seconds):
    """Until is_reached(running, waiting)."""
    deadline = time.monotonic() + seconds
    while True:
        metrics = server.metrics()
        running, waiting = (metrics[f"vllm:num_requests_{state}"] for state in ("running", "waiting"))
        if is_reached(running, waiting):
            return
        assert time.monotonic() < deadline, f"{waiting} wait, {running} run"
        time.sleep(0.2)


def read_slowly(server, streams, seconds):
    """The greatest memory of the server while all streams are read at BYTES_A_SECOND, and how much came."""
    greatest = received = 0
    for raw in streams:
        raw.setblocking(False)
    end = time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        for raw in streams:
            try:
                received += len(raw.recv(BYTES_A_SECOND))
            except BlockingIOError:
                pass
        greatest = max(greatest, server.metrics()["process_resident_memory_bytes"])
        time.sleep(max(0, begin + 1 - time.monotonic()))
    return greatest, received


def hold(server, state, streams, seconds):
    """Brings the streams to their state; the server's memory then, and other facts of the report."""
    count = len(streams)
    wait_until(server, lambda running, waiting: running + waiting == count, seconds)
    facts = {}
    if state == "parked":
        begin = time.monotonic()
        wait_until(server, lambda running, waiting: running == 0 and waiting == count, seconds)
        facts["seconds"] = round(time.monotonic() - begin, 1)
    if state == "slow":
        memory, received = read_slowly(server, streams, seconds)
        return memory, {"bytes_a_second": round(received / seconds / len(streams), 1)}
    return server.metrics()["process_resident_memory_bytes"], facts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--max-tokens", type=int, default=2000)
    parser.add_argument("--state", choices=("parked", "queued", "slow"), default="parked")
    parser.add_argument("--seconds", type=float, default=300, help="of slow reading; the longest wait for parked streams")
    parser.add_argument("--limit-kib", type=float, default=40)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    server = Server(arguments.url)
    fill_kv_cache(server)
    for raw in [open_stream(server, 1) for _ in range(64)]:  # warm
        received = b""
        while b"[DONE]" not in received:
            received += raw.recv(65536)
        raw.close()
    before, sockets_before = server.wait_until_idle()["process_resident_memory_bytes"], socket_bytes()
    streams = [open_stream(server, arguments.max_tokens) for _ in range(arguments.streams)]
    memory, facts = hold(server, arguments.state, streams, arguments.seconds)
    begin = time.perf_counter()
    metrics = server.metrics()
    kib = (memory - before) / 1024 / arguments.streams
    report = {
        "streams": arguments.streams,
        "state": arguments.state,
        "kib_each": round(kib, 1),
        "socket_kib_each": round((socket_bytes() - sockets_before) / 1024 / arguments.streams, 1),
        "running": metrics["vllm:num_requests_running"],
        "waiting": metrics["vllm:num_requests_waiting"],
        "metrics_ms": round((time.perf_counter() - begin) * 1e3, 1),
    } | facts
    print(json.dumps(report))
    for raw in streams:
        raw.close()
    server.wait_until_idle()
    sys.exit(kib > arguments.limit_kib)


if __name__ == "__main__":
    main()
