#!/usr/bin/env python3
"""Hostile load against a running server: N hostile requests, then M clients that vanish, 64 at a time.

    soak.py http://127.0.0.1:8000 [--requests 10000] [--vanish 1000] [--seed 1] [--health-ms 50]

Passes if the server stays alive, never answers with a status of 500 or more (503 and 504 aside), holds no page and no
request afterwards, has its memory back within 5 % (or 8 MiB), and answers /health within --health-ms (99th percentile) all the time.
"""

import argparse
import asyncio
import collections
import http.client
import json
import multiprocessing
import random
import re
import socket
import struct
import sys
import time
import urllib.parse

import hostile

AT_ONCE = 64
ANSWER_SECONDS = 60
FILL_TOKENS = 1000
FILL_SECONDS = 300
ALLOCATOR_SLACK = 8 << 20  # where 5 % would be less


def probe_health(host, port, stop, results):
    """In a process of its own, so that it measures the server and not this script."""
    times, failures = [], 0
    connection = http.client.HTTPConnection(host, port, timeout=30)
    while not stop.is_set():
        begin = time.perf_counter()
        try:
            connection.request("GET", "/health")
            failures += connection.getresponse().read() != b'{"status":"ok"}'
        except OSError:
            failures += 1
            connection.close()
        times.append(time.perf_counter() - begin)
        time.sleep(0.02)
    results.put((times, failures))


class Server:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port or 80

    def metric_lines(self):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return [line for line in lines if not line.startswith("#")]

    def metrics(self):
        sums = collections.defaultdict(float)
        for line in self.metric_lines():
            sums[line.split("{")[0].split(" ")[0]] += float(line.rsplit(" ", 1)[1])
        return sums

    def kv_tokens(self):
        """Size of the KV cache."""
        info = next(line for line in self.metric_lines() if line.startswith("vllm:cache_config_info{"))
        label = lambda name: int(re.search(f'{name}="([0-9]+)"', info)[1])
        return label("block_size") * label("num_cpu_blocks")

    def wait_until_idle(self, seconds=60):
        deadline = time.monotonic() + seconds
        names = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
        while any((metrics := self.metrics())[name] > 0 for name in names):
            if time.monotonic() > deadline:
                raise AssertionError({name: metrics[name] for name in names})
            time.sleep(0.1)
        return metrics


async def read_statuses(reader, statuses, seconds=ANSWER_SECONDS):
    """Notes the status of each answer until the server closes or has nothing more to say."""
    try:
        while True:
            line = await asyncio.wait_for(reader.readline(), 2 if statuses else seconds)
            if not line:
                return
            if line.startswith(b"HTTP/1.1 "):
                statuses.append(int(line[9:12]))
            if b"Content-Length:" in line:
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_SECONDS)
                await asyncio.wait_for(reader.readexactly(int(line.split(b":")[1])), ANSWER_SECONDS)
                if statuses and statuses[-1] != 100:
                    return
            if line.startswith((b"data: [DONE]", b"0\r\n")):
                return
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, OSError):
        return


async def attack(server, kind, rng, counts):
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=1 << 20)
    statuses = []
    reading = asyncio.ensure_future(read_statuses(reader, statuses))
    try:
        for piece in kind(rng):
            if piece is hostile.HALF_CLOSE:
                writer.write_eof()
            elif isinstance(piece, bytes):
                writer.write(piece)
                await asyncio.wait_for(writer.drain(), 10)
            else:
                await asyncio.sleep(piece)
        if kind is not hostile.silent:
            await reading
    except (TimeoutError, OSError):
        pass
    finally:
        reading.cancel()
        writer.transport.abort()
    for status in statuses or [0]:
        counts[kind.__name__, status] += 1


async def vanish(server, rng, counts):
    """Leaves at a random moment, in a random way."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    body = hostile.chat(stream=rng.random() < 0.7, max_tokens=rng.randrange(1, 300), ignore_eos=True)
    request = hostile.post(json.dumps(body).encode(), "/v1/chat/completions")
    if rng.random() < 0.1:
        request = request[: rng.randrange(len(request))]
    writer.write(request)
    try:
        async with asyncio.timeout(rng.random() * 1.5):
            while await reader.read(65536):
                counts["vanish", "read"] += 1
    except (TimeoutError, OSError):
        pass
    if rng.random() < 0.5:  # with a reset instead of an end
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    counts["vanish", "gone"] += 1


async def fill_part(server, rng):
    """A long prompt that begins like no other, so that it shares no pages."""
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=1 << 20)
    prompt = [rng.randrange(100, 500) for _ in range(FILL_TOKENS)]
    body = hostile.completion(prompt=prompt, max_tokens=8, ignore_eos=True)
    writer.write(hostile.post(json.dumps(body).encode(), "/v1/completions"))
    statuses = []
    await read_statuses(reader, statuses, FILL_SECONDS)
    writer.transport.abort()
    assert statuses == [200], statuses


def fill_kv_cache(server):
    """Touches all of it once, so that later growth of the process is not the cache's."""
    count = server.kv_tokens() // FILL_TOKENS + 1
    asyncio.run(run_all(lambda number=number: fill_part(server, random.Random(number)) for number in range(count)))


async def run_all(jobs):
    """Each job is a function that makes a coroutine; AT_ONCE of them at a time."""
    pending = iter(jobs)

    async def worker():
        for job in pending:
            await job()

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


def hostile_jobs(server, count, seed, counts):
    for number in range(count):
        kind = hostile.KINDS[number % len(hostile.KINDS)]
        rng = random.Random(f"{seed}/{number}")
        yield lambda kind=kind, rng=rng: attack(server, kind, rng, counts)


def vanishing_jobs(server, count, seed, counts):
    for number in range(count):
        rng = random.Random(f"{seed}/vanish/{number}")
        yield lambda rng=rng: vanish(server, rng, counts)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def soak(url, requests, vanishers, seed, health_ms):
    server = Server(url)
    fill_kv_cache(server)
    asyncio.run(run_all(hostile_jobs(server, max(requests // 10, 200), f"{seed}/warm", collections.Counter())))
    asyncio.run(run_all(vanishing_jobs(server, max(vanishers // 10, 64), f"{seed}/warm", collections.Counter())))
    before = server.wait_until_idle()["process_resident_memory_bytes"]
    stop, results = multiprocessing.Event(), multiprocessing.Queue()
    prober = multiprocessing.Process(target=probe_health, args=(server.host, server.port, stop, results))
    prober.start()
    counts = collections.Counter()
    begin = time.monotonic()
    asyncio.run(run_all(hostile_jobs(server, requests, seed, counts)))
    asyncio.run(run_all(vanishing_jobs(server, vanishers, seed, counts)))
    seconds = time.monotonic() - begin
    stop.set()
    times, failures = results.get()
    prober.join()
    after = server.wait_until_idle()["process_resident_memory_bytes"]
    by_status = collections.Counter()
    for (kind, status), count in counts.items():
        if kind != "vanish":
            by_status[status] += count
    report = {
        "hostile_requests": requests,
        "vanished": counts["vanish", "gone"],
        "seconds": round(seconds, 1),
        "statuses": dict(sorted(by_status.items())),
        "rss_before_mib": round(before / 2**20, 1),
        "rss_after_mib": round(after / 2**20, 1),
        "health_probes": len(times),
        "health_p50_ms": round(percentile(times, 0.5) * 1e3, 2),
        "health_p99_ms": round(percentile(times, 0.99) * 1e3, 2),
        "health_max_ms": round(max(times) * 1e3, 2),
    }
    problems = []
    if failures:
        problems.append(f"/health failed {failures} times")
    if percentile(times, 0.99) * 1e3 > health_ms:
        problems.append(f"/health took more than {health_ms:g} ms")
    if after > max(before * 1.05, before + ALLOCATOR_SLACK):
        problems.append("memory did not come back")
    bad = {key: count for key, count in counts.items() if isinstance(key[1], int) and key[1] >= 500 and key[1] not in (503, 504)}
    if bad:
        problems.append(f"server errors: {bad}")
    return report, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--vanish", type=int, default=1_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--health-ms", type=float, default=50)
    arguments = parser.parse_args()
    report, problems = soak(arguments.url, arguments.requests, arguments.vanish, arguments.seed, arguments.health_ms)
    print(json.dumps(report, indent=1))
    for problem in problems:
        print("FAILED:", problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
