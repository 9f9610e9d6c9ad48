"""What the scripts of Python peers share: their options, and how speeds follow from times. No peer is imported here."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable


def parse_options(description: str | None, model: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", help=model)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt", type=int, required=True, help="tokens")
    parser.add_argument("--generate", type=int, required=True, help="tokens")
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1, help="counted runs after the first; 0: the first only")
    return parser.parse_args()


def print_speeds(options: argparse.Namespace, version: str, seconds: Callable[[int], float]) -> None:
    """A line of JSON. `seconds` takes so many new tokens after fresh prompts, so that nothing is found in a cache."""
    seconds(options.generate)  # warms up
    prefill, decode = [], []
    for _ in range(options.repeat):
        first = seconds(1)
        prefill.append(options.sequences * options.prompt / first)
        if options.generate > 1:
            more = seconds(options.generate) - first
            decode.append(options.sequences * (options.generate - 1) / more)
    result: dict[str, object] = {"version": version}
    if prefill:
        result["prefill"] = statistics.median(prefill)
    if decode:
        result["decode"] = statistics.median(decode)
    print(json.dumps(result))
