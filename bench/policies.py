#!/usr/bin/env python3
"""Scheduling policies on synthetic traces, by simulation: tables, and plots for each trace and load.

    bench/policies.py --cost-model costs.json --policies fcfs,mlfq --plots FOLDER

Load is the offered work by the capacity: the rate at which the trace's requests end when all of them are there from the
start, first come, first served. Every figure is the median over the seeds, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import statistics
import sys
import tempfile

from traces.figures import FIGURES, HEADING, figures_of, plot, read_lines
from traces.kinds import KINDS, Knobs
from traces.simulation import SimulationError, Simulator

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cost-model", required=True, help="of 'pagoda bench cost-model --json', or a recording of steps")
    parser.add_argument("--pagoda", default=str(ROOT / "build/release/bin/pagoda"), help="default: %(default)s")
    parser.add_argument("--traces", default="sharegpt-like,azure-conv-like,azure-code-like", help="default: %(default)s")
    parser.add_argument("--policies", default="fcfs,mlfq", metavar="NAME,NAME", help="default: %(default)s")
    parser.add_argument("--loads", default="0.8,1.1,1.5", help="default: %(default)s")
    parser.add_argument("--requests", type=int, default=2000, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--options", default="", help="further options of 'pagoda simulate', in one string")
    parser.add_argument("--plots", default="", metavar="FOLDER", help="write SVG files there, of the first seed")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    simulator = Simulator(options.pagoda, options.cost_model, tuple(options.options.split()))
    if not options.json:
        print("| " + " | ".join(HEADING) + " |\n|" + "---|" * len(HEADING))
    policies = options.policies.split(",")
    for kind in options.traces.split(","):
        if kind not in KINDS:
            parser.error(f"no trace '{kind}'; known are {', '.join(KINDS)}")
        for load in map(float, options.loads.split(",")):
            rows: dict[str, list[dict[str, float]]] = {policy: [] for policy in policies}
            requests, reports = {}, {}
            for seed in range(1, options.seeds + 1):
                knobs = Knobs(options.requests, 1.0, seed=seed)
                knobs = dataclasses.replace(knobs, rate=load * simulator.capacity(kind, knobs))
                for policy in policies:
                    with tempfile.TemporaryDirectory() as folder:
                        out = pathlib.Path(folder) / "requests.jsonl"
                        _, report = simulator.run(kind, knobs, "--policy", policy, requests_out=str(out))
                        if seed == 1:
                            requests[policy], reports[policy] = read_lines(out), report
                    rows[policy].append(figures_of(report))
            for policy in policies:
                spread = {n: [f(row[n] for row in rows[policy]) for f in (min, statistics.median, max)] for n in FIGURES}
                if options.json:
                    print(json.dumps({"trace": kind, "load": load, "policy": policy, "seeds": options.seeds} | spread))
                else:
                    cells = [f"{middle:.3g} ({low:.3g} … {high:.3g})" for low, middle, high in spread.values()]
                    print("| " + " | ".join([kind, f"{load:g}", policy, *cells]) + " |", flush=True)
            if options.plots:
                plot(pathlib.Path(options.plots), f"{kind}-{load:g}", requests, reports)


if __name__ == "__main__":
    try:
        main()
    except SimulationError as error:
        sys.exit(str(error))
