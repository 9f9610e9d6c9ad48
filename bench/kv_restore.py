#!/usr/bin/env python3
"""A long prompt computed, and read back from the disk by a new process.

    bench/kv_restore.py --model MODEL.gguf --folder FOLDER

Each round starts with an empty folder: one process computes the prompt and is stopped, the next one serves the same
prompt from the folder. Times are from the request to the first token; both texts must be the same.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import shutil
import statistics
import sys
import time
import urllib.request

from traces.server import Server, ServerError, free_port

PAGE_TOKENS = 16
ROOT = pathlib.Path(__file__).resolve().parent.parent


def ask(url: str, prompt: list[int]) -> tuple[float, str, int]:
    """Seconds to the first token, the text, and how many tokens came from the disk."""
    body = {"prompt": prompt, "max_tokens": 16, "temperature": 0, "ignore_eos": True, "stream": True,
            "stream_options": {"include_usage": True}, "skip_special_tokens": False}
    request = urllib.request.Request(url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    begin = time.monotonic()
    first, text, from_disk = 0.0, "", 0
    with urllib.request.urlopen(request, timeout=3600) as reply:
        for line in reply:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            from_disk = event.get("timings", {}).get("cache_disk_n", from_disk)
            for choice in event["choices"]:
                if choice["text"]:
                    first = first or time.monotonic() - begin
                    text += choice["text"]
    return first, text, from_disk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--folder", required=True, help="on the disk; a folder is made in it and removed")
    parser.add_argument("--pagoda", default=str(ROOT / "build/release/bin/pagoda"), help="default: %(default)s")
    parser.add_argument("--tokens", type=int, default=8192, help="of the prompt (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    folder = pathlib.Path(options.folder) / "pagoda-bench-restore"
    times: dict[str, list[float]] = {"computed": [], "restored": []}
    for round_number in range(options.rounds):
        folder.mkdir(parents=True)
        rng = random.Random(round_number)
        prompt = [rng.randrange(1000, 31000) for _ in range(options.tokens)]
        texts = []
        try:
            for name in times:
                port = free_port()
                command = [options.pagoda, "serve", "--model", options.model, "--port", str(port), "--no-request-log",
                           "--kv-disk", str(folder), "--max-context", str(options.tokens + 64), "--max-sequences", "4"]
                with Server(command, port, "/ready") as server:
                    seconds, text, from_disk = ask(server.url, prompt)
                wanted = options.tokens - PAGE_TOKENS if name == "restored" else 0
                if not wanted <= from_disk <= wanted + PAGE_TOKENS:
                    raise ServerError(f"{from_disk} tokens of the {name} prompt came from the disk instead of {wanted}")
                times[name].append(seconds)
                texts.append(text)
        finally:
            shutil.rmtree(folder)
        if texts[0] != texts[1]:
            raise ServerError("the restored prompt gave another text")
    ratios = [computed / restored for computed, restored in zip(times["computed"], times["restored"])]
    rows = {name: {"min": min(v), "median": statistics.median(v), "max": max(v)} for name, v in {**times, "ratio": ratios}.items()}
    if options.json:
        print(json.dumps({"tokens": options.tokens} | rows))
        return
    print(f"{options.tokens} tokens{'min':>12}{'median':>12}{'max':>12}")
    for name, row in rows.items():
        print(f"{name:<11}{row['min']:>12.3f}{row['median']:>12.3f}{row['max']:>12.3f}")


if __name__ == "__main__":
    try:
        main()
    except ServerError as error:
        sys.exit(str(error))
