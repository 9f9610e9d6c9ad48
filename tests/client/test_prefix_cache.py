"""What is kept of a prompt, in memory and on disk: less to compute, the same answer."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import start_real_server

PROMPT = "The quick brown fox jumps over the lazy dog. " * 20


def ask(server):
    body = {"prompt": PROMPT, "max_tokens": 20, "temperature": 0, "logprobs": 1}
    answer = server.http.post("/v1/completions", json=body).json()
    return answer["choices"], answer["timings"], answer["usage"]["prompt_tokens"]


def wait_until_stored(server, num_pages):
    def stored():
        ask(server)  # pages are written beside steps
        return server.metric("pagoda:prefix_cache_pages_total", 'event="stored"') >= num_pages

    server.wait_until(stored)


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


@pytest.mark.parametrize("kv_type", ["bf16", "int8"])
def test_samples_that_share_pages_are_separate_runs_bit_for_bit(kv_type):
    # The prompt ends in the middle of a page, of which each sample writes a copy. A separate run over the prompt and a
    # sample's tokens gives each of those the same log probability.
    server = start_real_server("--no-prefix-cache", "--kv-type", kv_type, "--prefill-chunk", "40")
    body = {"prompt": PROMPT[:-5], "max_tokens": 24, "temperature": 1, "seed": 3, "n": 3, "logprobs": 0,
            "return_token_ids": True, "ignore_eos": True}
    forked = server.http.post("/v1/completions", json=body).json()["choices"]
    assert len(forked) == 3 and len({choice["text"] for choice in forked}) == 3
    assert len(forked[0]["prompt_token_ids"]) % 16 != 0
    for choice in forked:
        tokens = choice["prompt_token_ids"] + choice["token_ids"]
        again = {"prompt": tokens, "max_tokens": 0, "echo": True, "logprobs": 0}
        (scored,) = server.http.post("/v1/completions", json=again).json()["choices"]
        assert scored["logprobs"]["token_logprobs"][-24:] == choice["logprobs"]["token_logprobs"]
    assert server.stop() == 0


@pytest.mark.parametrize(("kv_type", "kv_bytes"), [("bf16", "14400KiB"), ("int8", "8100KiB")])
def test_sequences_that_lose_their_pages_end_as_if_nothing_had_happened(tmp_path, kv_type, kv_bytes):
    def story(server, index):
        body = {"prompt": f"Story {index}. " + PROMPT[:200], "max_tokens": 250, "temperature": 0, "logprobs": 0,
                "ignore_eos": True}
        return server.http.post("/v1/completions", json=body).json()["choices"]

    def stories(server, at_once):
        with ThreadPoolExecutor(at_once) as clients:
            return list(clients.map(lambda index: story(server, index), range(6)))

    options = ("--kv-type", kv_type, "--max-context", "512")
    roomy = start_real_server(*options, "--no-prefix-cache")
    expected = stories(roomy, 1)
    assert roomy.stop() == 0
    # Room for 40 pages, of which each needs 19.
    small = start_real_server(*options, "--max-kv", kv_bytes, "--max-sequences", "4", "--kv-disk", str(tmp_path / "kv"),
                              "--kv-disk-size", "300MiB")
    assert stories(small, 6) == expected
    assert small.metric("vllm:num_preemptions_total") > 0
    assert small.stop() == 0
