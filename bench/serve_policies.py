#!/usr/bin/env python3
"""Scheduling policies on synthetic traces, measured: a server for each policy, and other servers beside it.

    bench/serve_policies.py --model MODEL.gguf --policies fcfs,mlfq --traces sharegpt-like --loads 0.8,1.1,1.5
    bench/serve_policies.py --model MODEL.gguf --traces mixed --loads 1.1 \\
        --peer 'llama-server=/opt/llama-server -m MODEL.gguf -np 16 -c 65536 --port {port}'
    bench/serve_policies.py --model MODEL.gguf --policies mlfq --loads 1.1 --options '--max-sequences 8 --max-kv 360MiB' \\
        --variant 'ahead=--kv-disk {folder}' --variant 'not ahead=--kv-disk {folder} --no-kv-ahead' \\
        --simulated 'mlfq ahead=--policy mlfq --max-sequences 8 --kv-tokens 16384 --disk-model disk.json'

Load is the offered work by the capacity: the rate at which the trace's requests end when all of them are there from the
start, first come, first served, measured once for each trace. The steps of that run, and of a few requests that have the
server to themselves, give the cost model that tells slowdowns. Every run replays the same requests; the rate differs. A
peer is any command that serves /v1/completions and answers GET /health with 200; it gets the same arrivals. So does the
simulation of a row, with the costs and the pace of the steps that its server recorded: on a machine that others share,
those of another run would be of another machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable

from traces.comparison import Comparison, add_options, named, parse, rows_of
from traces.figures import read_lines
from traces.kinds import KINDS, Knobs
from traces.server import Server, ServerError, free_port
from traces.simulation import SimulationError, Simulator
from traces.trace import GENERATOR, classify, write

ALONE = 6  # requests that have the server to themselves, for the cost model
NO_LIMIT = "--max-queued 100000"


class Bench:
    def __init__(self, options: argparse.Namespace, folder: pathlib.Path):
        self.options, self.folder = options, folder
        self.found: dict[tuple[str, int], tuple[float, pathlib.Path]] = {}  # capacities and recordings by trace and seed
        self.recordings = {row: folder / f"row-{i}.steps.jsonl" for i, row in enumerate(rows_of(options))}  # of our servers

    def server(self, *more: str) -> Server:
        command = f"{shlex.quote(self.options.pagoda)} serve --model {shlex.quote(self.options.model)} --no-request-log"
        port = free_port()
        words = [*shlex.split(f"{command} {NO_LIMIT} {self.options.options}"), "--port", str(port), *more]
        return Server(words, port, "/ready")

    def recorded(self, row: str, *more: str) -> Server:
        return self.server(*more, "--record-steps", str(self.recordings[row]))

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

    def serve(self, start: Callable[[str], Server], more: list[str], kind: str, knobs: Knobs, recording: pathlib.Path, salt: str) -> tuple[dict, list[dict]]:
        """The report on a server that may keep files in a folder while it runs, and what its requests went through; `more`: of 'bench trace'."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder, start(folder) as server:
            return self.replay(server, kind, knobs, "--cost-model", str(recording), *more, salt=salt)

    def simulate(self, row: str, command: str, kind: str, knobs: Knobs) -> tuple[dict, list[dict]]:
        rows, recording = self.folder / "requests.jsonl", str(self.recordings[row])
        simulator = Simulator(self.options.pagoda, recording, (*shlex.split(command), "--pace", recording))
        return simulator.run(kind, knobs, requests_out=str(rows))[1], read_lines(rows)

    def keep(self, row: str, name: str) -> None:
        """The recording of a row's last run and the trace that it served."""
        self.options.recordings.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.recordings[row], self.options.recordings / f"{name}.steps.jsonl")
        shutil.copy(self.folder / "trace.jsonl", self.options.recordings / f"{name}.trace.jsonl")

    def capacity(self, kind: str, knobs: Knobs) -> tuple[float, pathlib.Path]:
        """Requests a second, and a recording of the steps; measured once."""
        if (kind, knobs.seed) in self.found:
            return self.found[kind, knobs.seed]
        recording = self.folder / f"{kind}-{knobs.seed}.steps.jsonl"
        with self.server("--policy", "fcfs", "--record-steps", str(recording)) as server:
            self.replay(server, kind, dataclasses.replace(knobs, requests=ALONE), "--clients", "1", salt="alone")
            report, _ = self.replay(server, kind, dataclasses.replace(knobs, rate=1e6), salt="capacity")
        if report["errors"]:
            raise ServerError(f"{kind}: {report['errors']}")
        self.found[kind, knobs.seed] = report["all"]["completed"] / report["seconds"], recording
        return self.found[kind, knobs.seed]


def knobs_of(options: argparse.Namespace, seed: int) -> Knobs:
    return Knobs(options.requests, 1.0, cv=options.cv, seed=seed, max_prompt=options.max_prompt, max_output=options.max_output)


def runs_of(bench: Bench) -> dict[str, Callable[..., tuple[dict, list[dict]]]]:
    """What makes a report and its requests of a trace, by the name of a row."""
    options = bench.options

    def served(start: Callable[[str], Server], *more: str) -> Callable[..., tuple[dict, list[dict]]]:
        return lambda *run, salt: bench.serve(start, list(more), *run, salt)

    runs = {
        name: served(lambda folder, name=name, more=more: bench.recorded(name, *(word.replace("{folder}", folder) for word in more)), "--predict")
        for name, more in rows_of(options).items()
    }
    for name, command in options.peer:
        runs[name] = served(lambda _, command=command: bench.peer(command))
    for row, command in options.simulated:
        runs[f"{row}, simulated"] = lambda kind, knobs, _, salt, row=row, command=command: bench.simulate(row, command, kind, knobs)
    return runs


def measure(bench: Bench, kind: str) -> None:
    options = bench.options
    for load in map(float, options.loads.split(",")):
        comparison = Comparison(options, kind, load, "-served")
        for seed in range(1, options.seeds + 1):
            knobs = knobs_of(options, seed)
            capacity, recording = bench.capacity(kind, knobs)
            knobs = dataclasses.replace(knobs, rate=load * capacity)
            for name, run in runs_of(bench).items():
                comparison.add(name, *run(kind, knobs, recording, salt=f"{load}"))
                if options.recordings and name in bench.recordings:
                    bench.keep(name, f"{kind}-{load}-{name}-{seed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a .gguf file")
    add_options(parser, "serve", requests=200, seeds=1)
    parser.add_argument("--cv", type=float, default=1.0, help="of the gaps between arrivals (default: %(default)s)")
    parser.add_argument("--max-prompt", type=int, default=4096, help="bound on the tokens of a prompt (default: %(default)s)")
    parser.add_argument("--max-output", type=int, default=2048, help="bound on the tokens of an answer (default: %(default)s)")
    parser.add_argument("--peer", type=named, action="append", default=[], metavar="NAME=COMMAND", help="{port} is its port; may be given several times")
    parser.add_argument("--simulated", type=named, action="append", default=[], metavar="ROW=OPTIONS", help="of 'pagoda simulate', after that row; may be given several times")
    parser.add_argument("--recordings", type=pathlib.Path, metavar="FOLDER", help="keep the steps that servers recorded, and their traces, for 'pagoda simulate'")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for one request (default: %(default)s)")
    options = parse(parser)
    for row, _ in options.simulated:
        if row not in rows_of(options):
            parser.error(f"no row '{row}' to simulate; there are {', '.join(rows_of(options))}")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, pathlib.Path(folder))
        for kind in options.traces.split(","):
            measure(bench, kind)


if __name__ == "__main__":
    try:
        main()
    except (ServerError, SimulationError) as error:
        sys.exit(str(error))
