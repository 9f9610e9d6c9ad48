#!/usr/bin/env python3
"""Scheduling policies on synthetic traces, by simulation: tables, and plots for each trace and load.

    bench/policies.py --cost-model costs.json --policies fcfs,mlfq --plots FOLDER
    bench/policies.py --cost-model costs.json --policies mlfq --options '--kv-tokens 16384 --disk-model disk.json' \\
        --variant 'ahead=' --variant 'not ahead=--no-kv-ahead'

Load is the offered work by the capacity: the rate at which the trace's requests end when all of them are there from the
start, first come, first served. Every figure is the median over the seeds, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
import tempfile

from traces.comparison import Comparison, add_options, parse, rows_of
from traces.figures import read_lines
from traces.kinds import Knobs
from traces.simulation import SimulationError, Simulator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cost-model", required=True, help="of 'pagoda bench cost-model --json', or a recording of steps")
    add_options(parser, "simulate", requests=2000, seeds=5)
    options = parse(parser)
    simulator = Simulator(options.pagoda, options.cost_model, tuple(options.options.split()))
    compared = rows_of(options)
    for kind in options.traces.split(","):
        for load in map(float, options.loads.split(",")):
            comparison = Comparison(options, kind, load)
            for seed in range(1, options.seeds + 1):
                knobs = Knobs(options.requests, 1.0, seed=seed)
                knobs = dataclasses.replace(knobs, rate=load * simulator.capacity(kind, knobs))
                for name, more in compared.items():
                    with tempfile.TemporaryDirectory() as folder:
                        out = pathlib.Path(folder) / "requests.jsonl"
                        _, report = simulator.run(kind, knobs, *more, requests_out=str(out))
                        comparison.add(name, report, read_lines(out))


if __name__ == "__main__":
    try:
        main()
    except SimulationError as error:
        sys.exit(str(error))
