#!/usr/bin/env python3
"""Write a synthetic trace of requests as JSON lines, for `pagoda bench trace` and `pagoda simulate`.

    bench/make_trace.py sharegpt-like --requests 2000 --rate 0.5 --seed 1 > trace.jsonl

The same arguments give the same trace; the first line of the file says them, and the version of the generator.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

from traces.kinds import KINDS, Knobs
from traces.trace import GENERATOR, classify, write


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--requests", type=int, default=2000, help="default: %(default)s")
    parser.add_argument("--rate", type=float, default=1.0, help="requests a second (default: %(default)s)")
    parser.add_argument("--cv", type=float, default=1.0, help="of the gaps: 1 is Poisson, 2 and 4 are bursty (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--keys", type=int, default=1, help="clients of the traces made by quantiles (default: 1)")
    parser.add_argument("--max-prompt", type=int, default=1 << 30, metavar="N", help="bound on the tokens of a prompt")
    parser.add_argument("--max-output", type=int, default=1 << 30, metavar="N", help="bound on the tokens of an answer")
    options = parser.parse_args(arguments)
    for name in ("requests", "keys", "max_prompt", "max_output"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is at least 1")
    if options.rate <= 0 or options.cv <= 0:
        parser.error("--rate and --cv must be above 0")
    return options


def main() -> None:
    options = vars(parse_arguments())
    kind = options.pop("kind")
    knobs = Knobs(**options)
    requests = KINDS[kind](knobs)
    classify(requests)
    write(requests, {"trace": kind, "generator": GENERATOR} | dataclasses.asdict(knobs), sys.stdout)


if __name__ == "__main__":
    main()
