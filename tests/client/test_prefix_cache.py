"""What is kept of a prompt, in memory and on disk: less to compute, the same answer."""

import os
import pathlib
import signal
import socket

import httpx
import pytest
from conftest import BUILD, ServerProcess

PROMPT = "The quick brown fox jumps over the lazy dog. " * 20


def serve(*options):
    models = sorted(pathlib.Path(os.environ.get("PAGODA_MODELS", "/nonexistent")).glob("*SmolLM2-135M*.gguf"))
    if not models:
        pytest.skip("PAGODA_MODELS holds no SmolLM2")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [BUILD / "bin" / "pagoda", "serve", "--model", models[0], "--port", str(port), "--no-request-log"]
    return ServerProcess([*command, *options], port).wait_until_ready(60)


def ask(server):
    body = {"prompt": PROMPT, "max_tokens": 20, "temperature": 0, "logprobs": 1}
    answer = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60).json()
    return answer["choices"], answer["timings"], answer["usage"]["prompt_tokens"]


def wait_until_stored(server, num_pages):
    for _ in range(200):
        for line in httpx.get(f"{server.url}/metrics").text.splitlines():
            if line.startswith("pagoda:prefix_cache_pages_total{") and 'event="stored"' in line:
                if float(line.split()[-1]) >= num_pages:
                    return
        ask(server)
    pytest.fail("the pages were not stored")


def test_a_hit_is_the_cold_run_bit_for_bit_also_after_a_kill(tmp_path):
    cold = serve("--no-prefix-cache")
    expected, timings, num_prompt = ask(cold)
    assert timings["cache_n"] == 0
    assert ask(cold)[1]["cache_n"] == 0
    assert cold.stop() == 0

    options = ("--kv-disk", str(tmp_path / "kv"), "--kv-disk-size", "300MiB")
    first = serve(*options)
    assert ask(first)[0] == expected
    choices, timings, _ = ask(first)
    assert choices == expected
    assert timings["cache_memory_n"] == (num_prompt - 1) // 16 * 16 and timings["cache_disk_n"] == 0
    wait_until_stored(first, num_prompt // 16)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()

    second = serve(*options)
    choices, timings, _ = ask(second)
    assert choices == expected
    assert timings["cache_disk_n"] == (num_prompt - 1) // 16 * 16
    assert second.stop() == 0
