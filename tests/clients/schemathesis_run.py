#!/usr/bin/env python3
"""Valid and invalid requests made out of /openapi.json: no 5xx, and every answer as the document says.

    python tests/clients/schemathesis_run.py --url http://127.0.0.1:8000 [--cases 200] [schemathesis options]

Without --url it serves the SmolLM2 of the folder PAGODA_MODELS (or --model) with the pagoda of PAGODA_BUILD (default:
build/release). Requirements: tests/clients/requirements.txt.
"""

import argparse
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("PAGODA_BUILD", ROOT / "build" / "release"))
# Not positive_data_acceptance: a schema cannot say that, for instance, top_logprobs needs logprobs.
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
          "negative_data_rejection", "unsupported_method", "missing_required_header")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until_ready(url, server, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"the server ended with status {server.returncode}")
        try:
            with urllib.request.urlopen(url + "/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    sys.exit("the server is not ready")


def run(url, cases, options):
    command = [pathlib.Path(sys.executable).parent / "schemathesis", "run", url + "/openapi.json", "--url", url,
               "--checks", ",".join(CHECKS), "--max-examples", str(cases), "--phases", "examples,coverage,fuzzing",
               "--seed", "1", "--request-timeout", "120", "--generation-database", "none", "--suppress-health-check",
               "all", "--continue-on-failure", *options]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE)}
    return subprocess.run(command, env=environment, cwd=HERE).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="of a running server")
    parser.add_argument("--cases", type=int, default=200, help="per operation")
    parser.add_argument("--model", help="to serve, where no URL is given")
    arguments, options = parser.parse_known_args()
    if arguments.url:
        sys.exit(run(arguments.url, arguments.cases, options))
    found = sorted(pathlib.Path(os.environ.get("PAGODA_MODELS", "/nonexistent")).glob("*SmolLM2-135M*.gguf"))
    if not arguments.model and not found:
        sys.exit("PAGODA_MODELS holds no SmolLM2: give --url or --model")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen([BUILD / "bin" / "pagoda", "serve", "--model", arguments.model or found[0], "--port", str(port),
                               # Bounds the answers to requests that do so themselves not at all.
                               "--max-context", "1024"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(url, server)
        status = run(url, arguments.cases, options)
        if server.poll() is not None:
            sys.exit(f"the server ended with status {server.returncode}")
        sys.exit(status)
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
