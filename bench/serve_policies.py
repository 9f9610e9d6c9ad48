#!/usr/bin/env python3
"""Scheduling policies on synthetic traces, measured: a server for each policy, and other servers beside it.

    bench/serve_policies.py --model MODEL.gguf --policies fcfs,mlfq --traces sharegpt-like --loads 0.8,1.1,1.5
    bench/serve_policies.py --model MODEL.gguf --traces mixed --loads 1.1 \\
        --peer 'llama-server=/opt/llama-server -m MODEL.gguf -np 16 -c 65536 --port {port}'

Load is the offered work by the capacity: the rate at which the trace's requests end when all of them are there from the
start, first come, first served, measured once for each trace. The steps of that run, and of a few requests that have the
server to themselves, give the cost model that tells slowdowns. Every run replays the same requests; the rate differs. A
peer is any command that serves /v1/completions and answers GET /health with 200; it gets the same arrivals.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

from traces.comparison import add_options, parse, print_row
from traces.figures import figures_of, plot, read_lines
from traces.kinds import KINDS, Knobs
from traces.server import Server, ServerError, free_port
from traces.trace import GENERATOR, classify, write

ALONE = 6  # requests that have the server to themselves, for the cost model
NO_LIMIT = "--max-queued 100000"


class Bench:
    def __init__(self, options: argparse.Namespace, folder: pathlib.Path):
        self.options, self.folder = options, folder
        self.found: dict[tuple[str, int], tuple[float, pathlib.Path]] = {}  # capacities and recordings by trace and seed

    def server(self, policy: str, *more: str) -> Server:
        command = f"{shlex.quote(self.options.pagoda)} serve --model {shlex.quote(self.options.model)} --no-request-log"
        port = free_port()
        words = [*shlex.split(f"{command} {NO_LIMIT} {self.options.options}"), "--policy", policy, "--port", str(port), *more]
        return Server(words, port, "/ready")

    def peer(self, command: str) -> Server:
        port = free_port()
        return Server(shlex.split(command.replace("{port}", str(port))), port, "/health")

    def replay(self, server: Server, kind: str, knobs: Knobs, *more: str, salt: str) -> tuple[dict, list[dict]]:
        requests = KINDS[kind](knobs)
        classify(requests)
        trace, rows = self.folder / "trace.jsonl", self.folder / "requests.jsonl"
        with trace.open("w") as out:
            write(requests, {"trace": kind, "generator": GENERATOR} | dataclasses.asdict(knobs), out)
        command = [self.options.pagoda, "bench", "trace", "--trace", str(trace), "--url", server.url + "/v1", "--json"]
        command += ["--requests-out", str(rows), "--salt", salt, "--timeout", str(self.options.timeout), *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerError(done.stderr.strip())
        return json.loads(done.stdout), read_lines(rows)

    def capacity(self, kind: str, knobs: Knobs) -> tuple[float, pathlib.Path]:
        """Requests a second, and a recording of the steps; measured once."""
        if (kind, knobs.seed) in self.found:
            return self.found[kind, knobs.seed]
        recording = self.folder / f"{kind}-{knobs.seed}.steps.jsonl"
        with self.server("fcfs", "--record-steps", str(recording)) as server:
            self.replay(server, kind, dataclasses.replace(knobs, requests=ALONE), "--clients", "1", salt="alone")
            report, _ = self.replay(server, kind, dataclasses.replace(knobs, rate=1e6), salt="capacity")
        if report["errors"]:
            raise ServerError(f"{kind}: {report['errors']}")
        self.found[kind, knobs.seed] = report["all"]["completed"] / report["seconds"], recording
        return self.found[kind, knobs.seed]


def knobs_of(options: argparse.Namespace, seed: int) -> Knobs:
    return Knobs(options.requests, 1.0, cv=options.cv, seed=seed, max_prompt=options.max_prompt, max_output=options.max_output)


def measure(bench: Bench, kind: str, peers: dict[str, str]) -> None:
    options = bench.options
    policies = options.policies.split(",")
    for load in map(float, options.loads.split(",")):
        rows: dict[str, list[dict[str, float]]] = {}
        requests, reports = {}, {}
        for seed in range(1, options.seeds + 1):
            knobs = knobs_of(options, seed)
            capacity, recording = bench.capacity(kind, knobs)
            knobs = dataclasses.replace(knobs, rate=load * capacity)
            servers = {policy: lambda policy=policy: bench.server(policy) for policy in policies}
            servers |= {name: lambda command=command: bench.peer(command) for name, command in peers.items()}
            for name, start in servers.items():
                with start() as server:
                    report, done = bench.replay(server, kind, knobs, "--cost-model", str(recording), salt=f"{load}")
                rows.setdefault(name, []).append(figures_of(report))
                if seed == 1:
                    requests[name], reports[name] = done, report
        for name, runs in rows.items():
            print_row(options, kind, load, name, runs)
        if options.plots:
            plot(pathlib.Path(options.plots), f"{kind}-{load:g}-served", requests, reports)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a .gguf file")
    add_options(parser, "serve", requests=200, seeds=1)
    parser.add_argument("--cv", type=float, default=1.0, help="of the gaps between arrivals (default: %(default)s)")
    parser.add_argument("--max-prompt", type=int, default=4096, help="bound on the tokens of a prompt (default: %(default)s)")
    parser.add_argument("--max-output", type=int, default=2048, help="bound on the tokens of an answer (default: %(default)s)")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="{port} is its port; may be given several times")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for one request (default: %(default)s)")
    options = parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, pathlib.Path(folder))
        for kind in options.traces.split(","):
            measure(bench, kind, dict(peer.split("=", 1) for peer in options.peer))


if __name__ == "__main__":
    try:
        main()
    except ServerError as error:
        sys.exit(str(error))
