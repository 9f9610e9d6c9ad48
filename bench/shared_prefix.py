#!/usr/bin/env python3
"""Questions behind one long system prompt, from many clients at once, against several servers in turn.

    bench/shared_prefix.py --model MODEL.gguf --peer 'llama-server=/opt/llama-server -m MODEL.gguf -np 16 --port {port}'

Each server is started, asked (cold), and asked other questions behind the same system prompt (warm): 1,500 tokens, 50 of
the question, 64 of the answer. A peer is any command that serves /v1/completions and answers GET /health with 200.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile

from traces.kinds import KINDS, Knobs
from traces.server import Server, ServerError, free_port
from traces.trace import GENERATOR, write

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIGURES = ("tokens_per_second", "ttft_p50", "ttft_p99", "tpot_p50")


def ask(pagoda: str, server: Server, requests: int, clients: int, seed: int) -> dict[str, float]:
    knobs = Knobs(requests, 1.0, seed=seed)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as trace:
        write(KINDS["shared-prefix"](knobs), {"trace": "shared-prefix", "generator": GENERATOR} | dataclasses.asdict(knobs), trace)
        trace.flush()
        command = [pagoda, "bench", "trace", "--trace", trace.name, "--url", server.url + "/v1", "--clients", str(clients), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerError(done.stderr.strip())
    report = json.loads(done.stdout)
    if report["all"]["completed"] != requests:
        raise ServerError(f"{report['all']['completed']} of {requests} requests ended well: {report['errors']}")
    ttft, tpot = report["all"]["ttft"], report["all"]["tpot"]
    return dict(zip(FIGURES, (report["output_tokens_per_second"], ttft["p50"], ttft["p99"], tpot["p50"])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="for Pagoda: a .gguf file")
    parser.add_argument("--pagoda", default=str(ROOT / "build/release/bin/pagoda"), help="default: %(default)s")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="{port} is its port; may be given several times")
    parser.add_argument("--clients", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--requests", type=int, default=32, help="of a turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--states", default="cold,warm", help="which to print; warm needs cold before (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    commands = {"Pagoda": f"{shlex.quote(options.pagoda)} serve --model {shlex.quote(options.model)} --port {{port}} --no-request-log"}
    commands |= dict(peer.split("=", 1) for peer in options.peer)
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for name, command in commands.items():
            port = free_port()
            with Server(shlex.split(command.replace("{port}", str(port))), port, "/ready" if name == "Pagoda" else "/health") as server:
                for seed, state in enumerate(options.states.split(","), 1):
                    row = ask(options.pagoda, server, options.requests, options.clients, seed)
                    results.setdefault((name, state), []).append(row)
    if not options.json:
        print(f"{'server':<14}{'':<6}" + "".join(f"{name:>28}" for name in FIGURES) + "   (min, median, max)")
    for (name, state), rows in results.items():
        spread = {figure: [f([row[figure] for row in rows]) for f in (min, statistics.median, max)] for figure in FIGURES}
        if options.json:
            print(json.dumps({"server": name, "state": state, "clients": options.clients, "requests": options.requests} | spread))
        else:
            print(f"{name:<14}{state:<6}" + "".join("{:>12.2f}{:>8.2f}{:>8.2f}".format(*spread[figure]) for figure in FIGURES))


if __name__ == "__main__":
    try:
        main()
    except ServerError as error:
        sys.exit(str(error))
