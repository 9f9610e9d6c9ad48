"""Servers for the client tests: the fake model's, and the real binary where PAGODA_MODELS holds SmolLM2.

PAGODA_BUILD is the build folder (default: build/release), PAGODA_MODELS a folder with GGUF files.
"""

import os
import pathlib
import re
import signal
import subprocess
import time

import anthropic
import httpx
import openai
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PAGODA_BUILD", ROOT / "build" / "release"))


class ServerProcess:
    """A running server, which has said on which port; `stop` sends SIGTERM and returns the exit status."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        lines = (re.search(r"^(?:Serving .*:)?(\d+)$", line.rstrip()) for line in self.process.stdout)
        found = next(filter(None, lines), None)
        assert found, f"the server ended with status {self.process.wait()}"
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"
        # A connection for each request; patient, since the machine may be busy.
        self.http = httpx.Client(base_url=self.url, timeout=120, limits=httpx.Limits(max_keepalive_connections=0))

    def client(self, **options):
        options = {"api_key": "none", "max_retries": 0, "timeout": 120} | options
        return openai.OpenAI(base_url=self.url + "/v1", **options)

    def anthropic_client(self, **options):
        options = {"api_key": "none", "max_retries": 0, "timeout": 120} | options
        return anthropic.Anthropic(base_url=self.url, **options)

    def async_client(self, **options):
        options = {"api_key": "none", "max_retries": 0, "timeout": 300} | options
        return openai.AsyncOpenAI(base_url=self.url + "/v1", **options)

    def metric(self, name, label=""):
        """The sum of all lines of a metric, of those that have the label."""
        lines = self.http.get("/metrics").text.splitlines()
        lines = [line for line in lines if line.split("{")[0].split(" ")[0] == name and label in line]
        values = [float(line.rsplit(" ", 1)[1]) for line in lines]
        assert values, f"no metric {name}"
        return sum(values)

    def wait_until(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "what was waited for does not come"
            time.sleep(0.02)

    def wait_until_idle(self):
        """Until no request runs or waits; then no page may be held."""
        names = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
        self.wait_until(lambda: not any(self.metric(name) > 0 for name in names))

    def stop(self):
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        finally:
            self.process.kill()


def start_fake_server(*arguments, **options):
    return ServerProcess([BUILD / "bin" / "fake_server", *arguments], **options)


@pytest.fixture(scope="session")
def server():
    running = start_fake_server()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def client(server):
    with server.client() as running:
        yield running


def start_real_server(*options):
    """Serves SmolLM2; skips the test where the model is not there."""
    models = sorted(pathlib.Path(os.environ.get("PAGODA_MODELS", "/nonexistent")).glob("*SmolLM2-135M*.gguf"))
    if not models:
        pytest.skip("PAGODA_MODELS holds no SmolLM2")
    command = [BUILD / "bin" / "pagoda", "serve", "--model", models[0], "--port", "0", "--no-request-log"]
    return ServerProcess([*command, "--served-model-name", "smollm2", *options])


@pytest.fixture(scope="session")
def real_server():
    running = start_real_server()
    yield running
    assert running.stop() == 0
