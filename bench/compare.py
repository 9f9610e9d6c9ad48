#!/usr/bin/env python3
"""Pagoda and a peer's llama-bench in turn (A B A B …), on the same model and threads.

    PAGODA_PEER_LLAMA_BENCH=path/to/llama-bench bench/compare.py --model MODEL.gguf [options]

Turns cancel what the machine does beside: a ratio compares neighbours in time. Standard library only.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEER_VARIABLE = "PAGODA_PEER_LLAMA_BENCH"


class BenchError(Exception):
    """A sentence for the user."""


def run(command: list[str]) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BenchError(f"{command[0]}: {error.strerror}") from error
    if result.returncode != 0:
        tail = (result.stderr.strip() or result.stdout.strip()).splitlines()[-3:]
        raise BenchError(f"'{' '.join(command)}' ended with {result.returncode}: " + " / ".join(tail))
    return result.stdout


def pagoda_speed(options: argparse.Namespace, kind: str, tokens: int) -> float:
    command = [options.pagoda, "bench", kind, "--model", options.model, "--tokens", str(tokens)]
    command += ["--depth", str(options.depth), "--threads", str(options.threads)]
    command += ["--repeat", str(options.repeat), "--json"]
    return json.loads(run(command))["tokens_per_second"]["median"]


def peer_speed(options: argparse.Namespace, kind: str, tokens: int) -> float:
    prompt, generated = (tokens, 0) if kind == "prefill" else (0, tokens)
    command = [options.peer, "-m", options.model, "-p", str(prompt), "-n", str(generated)]
    command += ["-t", str(options.threads), "-r", str(options.repeat), "-o", "json", *options.peer_args.split()]
    if options.depth > 0:
        command += ["-d", str(options.depth)]
    output = run(command)
    return statistics.median(json.loads(output[output.index("[") :])[0]["samples_ts"])


def spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def compare(options: argparse.Namespace, kind: str, tokens: int) -> dict:
    ours, theirs = [], []
    for turn in range(options.rounds):
        ours.append(pagoda_speed(options, kind, tokens))
        theirs.append(peer_speed(options, kind, tokens))
        print(f"{kind} {tokens}, round {turn + 1}: {ours[-1]:.1f} and {theirs[-1]:.1f} tokens/s", file=sys.stderr)
    ratios = [a / b for a, b in zip(ours, theirs)]
    names = {"bench": kind, "tokens": tokens, "depth": options.depth, "threads": options.threads}
    return names | {"pagoda": spread(ours), "peer": spread(theirs), "ratio": spread(ratios)}


def row(result: dict) -> str:
    cells = [f"{result['bench']} {result['tokens']}"]
    for key, digits in (("pagoda", 1), ("peer", 1), ("ratio", 2)):
        cells.append(" / ".join(f"{result[key][part]:.{digits}f}" for part in ("min", "median", "max")))
    return "{:<14}{:>26}{:>26}{:>22}".format(*cells)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a .gguf file")
    parser.add_argument("--pagoda", default=str(ROOT / "build/release/bin/pagoda"), help="default: %(default)s")
    parser.add_argument("--peer", default=os.environ.get(PEER_VARIABLE), help=f"default: ${PEER_VARIABLE}")
    parser.add_argument("--peer-args", default="", help="further options of the peer, in one string")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--prefill", type=int, default=512, help="prompt tokens; 0: skip (default: 512)")
    parser.add_argument("--decode", type=int, default=128, help="generated tokens; 0: skip (default: 128)")
    parser.add_argument("--depth", type=int, default=0, help="tokens in the cache before (default: 0)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default: 5)")
    parser.add_argument("--repeat", type=int, default=1, help="runs within a turn (default: 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    if not options.peer:
        parser.error(f"no peer: set {PEER_VARIABLE} to a llama-bench built on this machine (see bench/README.md)")
    return options


def main() -> int:
    options = parse_arguments()
    if not options.json:
        print("{:<14}{:>26}{:>26}{:>22}".format("min/median/max", "pagoda, tokens/s", "peer, tokens/s", "pagoda / peer"))
    try:
        for kind, tokens in (("prefill", options.prefill), ("decode", options.decode)):
            if tokens > 0:
                result = compare(options, kind, tokens)
                print(json.dumps(result) if options.json else row(result), flush=True)
    except BenchError as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
