#!/usr/bin/env python3
"""How much of what a prefix cache could save the engine's saves, by simulation.

    bench/hit_rate.py --cost-model costs.json

The optimum computes every edge of the tree of prompts once, which is what visiting it depth first would do; requests
come in the order of their arrival instead, and pages are 16 tokens.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

from traces.kinds import Knobs
from traces.simulation import SimulationError, Simulator
from traces.trace import most_cached_tokens

ROOT = pathlib.Path(__file__).resolve().parent.parent
KINDS = ("few-shot", "multi-turn", "agent", "shared-prefix")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cost-model", required=True, help="of 'pagoda bench cost-model --json'")
    parser.add_argument("--pagoda", default=str(ROOT / "build/release/bin/pagoda"), help="default: %(default)s")
    parser.add_argument("--requests", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=5, help="traces of each kind (default: 5)")
    parser.add_argument("--kv-tokens", type=int, default=65536, help="room in the KV cache (default: %(default)s)")
    parser.add_argument("--load", type=float, default=0.8, help="of the capacity (default: 0.8)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    simulator = Simulator(options.pagoda, options.cost_model, ("--kv-tokens", str(options.kv_tokens)))
    if not options.json:
        print(f"{'trace':<16}{'seed':>5}{'hit rate':>10}{'optimum':>10}{'of optimum':>12}")
    for kind in KINDS:
        for seed in range(1, options.seeds + 1):
            knobs = Knobs(options.requests, 1.0, seed=seed, max_prompt=8000, max_output=1000)
            rate = options.load * simulator.capacity(kind, knobs)
            requests, report = simulator.run(kind, Knobs(options.requests, rate, seed=seed, max_prompt=8000, max_output=1000))
            prompt_tokens = sum(request.prompt_tokens for request in requests)
            row = {
                "trace": kind,
                "seed": seed,
                "rate": rate,
                "kv_tokens": report["kv_tokens"],
                "hit_rate": report["all"]["cached_tokens"] / prompt_tokens,
                "optimum": most_cached_tokens(requests) / prompt_tokens,
            }
            row["of_optimum"] = row["hit_rate"] / row["optimum"]
            if options.json:
                print(json.dumps(row))
            else:
                print(f"{kind:<16}{seed:>5}{row['hit_rate']:>10.3f}{row['optimum']:>10.3f}{row['of_optimum']:>12.3f}")


if __name__ == "__main__":
    try:
        main()
    except SimulationError as error:
        sys.exit(str(error))
