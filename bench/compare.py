#!/usr/bin/env python3
"""Pagoda and its peers in turn (A B C A B C …), on the same model, threads and shapes.

    bench/compare.py --model MODEL.gguf [options]

Turns cancel what the machine does beside: a ratio compares neighbours in time. Peers are those that `make bench-peers`
installs and those that PAGODA_PEER_LLAMA_BENCH names (bench/README.md).
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shlex
import sys

from pairwise.comparison import HEADING, compare
from pairwise.peers import VARIABLE, find_peers
from pairwise.process import BenchError
from pairwise.programs import Job, Pagoda, Program
from pairwise.shapes import ShapeLists, parse_depths, parse_numbers

ROOT = pathlib.Path(__file__).resolve().parent.parent


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a .gguf file")
    parser.add_argument("--pagoda", default=str(ROOT / "build/release/bin/pagoda"), help="default: %(default)s")
    parser.add_argument("--pagoda-args", default="", help="further options of pagoda, in one string")
    parser.add_argument("--peers", default="", metavar="NAME,NAME", help="only these (default: all that are found)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--prefill", type=parse_numbers, default="512,2048", metavar="N,N", help="prompt tokens")
    parser.add_argument("--decode", type=parse_numbers, default="128", metavar="N,N", help="generated tokens")
    parser.add_argument("--depth", type=parse_depths, default="0,4096", metavar="D,D", help="tokens before decode")
    parser.add_argument("--batch", type=parse_numbers, default="4,16,32", metavar="B,B", help="sequences together")
    parser.add_argument("--start", type=int, choices=[0, 1], default=1, help="time to the first token")
    parser.add_argument("--memory", type=parse_numbers, default="4096", metavar="N,N", help="peak memory at a context")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default: 5)")
    parser.add_argument("--repeat", type=int, default=1, help="runs within a turn (default: 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.epilog = "A list of 0 skips its rows: --prefill 0 --batch 0 --memory 0 leave decode and start."
    options = parser.parse_args()
    if options.rounds < 1 or options.repeat < 1 or options.threads < 1:
        parser.error("--rounds, --repeat and --threads are at least 1")
    options.model = str(pathlib.Path(options.model).resolve())
    options.pagoda = str(pathlib.Path(options.pagoda).resolve())
    return options


def choose(peers: list[Program], names: str) -> list[Program]:
    wanted = [name for name in names.split(",") if name]
    known = [peer.name for peer in peers]
    for name in wanted:
        if name not in known:
            raise BenchError(f"no peer '{name}'; known are: {', '.join(known) or 'none'}")
    if not peers:
        raise BenchError(f"no peers: 'make bench-peers' installs some, {VARIABLE} names others (bench/README.md)")
    return [peer for peer in peers if not wanted or peer.name in wanted]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> None:
    peers = choose(find_peers(os.environ), options.peers)
    job = Job(options.model, options.threads, options.repeat)
    pagoda = Pagoda(options.pagoda, shlex.split(options.pagoda_args))
    lists = ShapeLists(
        options.prefill, options.decode, options.depth, options.batch, bool(options.start), options.memory
    )
    if not options.json:
        print(HEADING)
    for shape in lists.shapes():
        comparison = compare(job, shape, pagoda, peers, options.rounds, say)
        print(json.dumps(comparison.to_object()) if options.json else "\n".join(comparison.lines()), flush=True)


def main() -> int:
    try:
        run(parse_arguments())
    except BenchError as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
