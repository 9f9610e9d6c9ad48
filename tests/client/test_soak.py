"""Hostile load, in short; `tests/soak/soak.py` is the whole of it."""

import subprocess
import sys

from conftest import ROOT, start_fake_server

SOAK = ROOT / "tests" / "soak"


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, SOAK / script, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_hostile_requests_and_vanishing_clients():
    target = start_fake_server("--step-us", "200", "--body-timeout-s", "2")
    # /health against what stands still: how fast it is, the machine says as well.
    run("soak.py", target.url, "--requests", 400, "--vanish", 100, "--health-ms", 5000)
    assert target.stop() == 0


def test_streams_that_nobody_reads_take_little_memory():
    # Kept pages would be counted with the streams' memory, and so would what a model without a step's time makes
    # before the server comes to write it.
    options = ("--step-us", "500", "--max-queued", "1000", "--write-timeout-s", "300", "--prefix-cache", "off")
    target = start_fake_server(*options)
    run("idle_streams.py", target.url, "--streams", 400)
    assert target.stop() == 0


def test_hostile_constraints_are_refused():
    target = start_fake_server()
    # Against what runs away; the figure to reach is the script's own limit.
    run("constraints.py", target.url, "--repeat", 1, "--limit-ms", 5000)
    assert target.stop() == 0
