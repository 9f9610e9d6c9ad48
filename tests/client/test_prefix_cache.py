"""What is kept of a prompt, in memory and on disk: less to compute, the same answer."""

import signal

import httpx
import pytest
from conftest import start_real_server

PROMPT = "The quick brown fox jumps over the lazy dog. " * 20


def ask(server):
    body = {"prompt": PROMPT, "max_tokens": 20, "temperature": 0, "logprobs": 1}
    answer = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60).json()
    return answer["choices"], answer["timings"], answer["usage"]["prompt_tokens"]


def wait_until_stored(server, num_pages):
    for _ in range(200):
        if server.metric("pagoda:prefix_cache_pages_total", 'event="stored"') >= num_pages:
            return
        ask(server)
    pytest.fail("the pages were not stored")


@pytest.mark.parametrize("kv_type", ["bf16", "int8"])
def test_a_hit_is_the_cold_run_bit_for_bit_also_after_a_kill(tmp_path, kv_type):
    cold = start_real_server("--no-prefix-cache", "--kv-type", kv_type)
    expected, timings, num_prompt = ask(cold)
    assert timings["cache_n"] == 0
    assert ask(cold)[1]["cache_n"] == 0
    assert cold.stop() == 0

    options = ("--kv-type", kv_type, "--kv-disk", str(tmp_path / "kv"), "--kv-disk-size", "300MiB")
    first = start_real_server(*options)
    assert ask(first)[0] == expected
    choices, timings, _ = ask(first)
    assert choices == expected
    assert timings["cache_memory_n"] == (num_prompt - 1) // 16 * 16 and timings["cache_disk_n"] == 0
    wait_until_stored(first, num_prompt // 16)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()

    second = start_real_server(*options)
    choices, timings, _ = ask(second)
    assert choices == expected
    assert timings["cache_disk_n"] == (num_prompt - 1) // 16 * 16
    assert second.stop() == 0
