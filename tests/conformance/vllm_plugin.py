"""pytest plugin: runs vLLM's tests of its HTTP API against pagoda, their files unchanged and without vLLM or torch.

`tests.utils.RemoteOpenAIServer` becomes one that starts pagoda, with another model than the tests name. What the test
files import from vllm and torch for their unit tests becomes a name that nothing stands behind; those tests, and what
pagoda lacks, are in vllm.toml.
"""

import importlib.abc
import importlib.machinery
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import types

import anthropic
import openai
import pytest
import requests

from selection import Selection

selection = Selection(pathlib.Path(__file__).with_name("vllm.toml"))
STUBBED = ("vllm", "torch", "transformers", "mteb", "huggingface_hub", "fastapi", "starlette")
# Names in the tests, and the variable with the model that stands in: where what the model says matters.
STAND_INS = {"Hermes": "PAGODA_TOOL_MODEL", "Qwen": "PAGODA_CHAT_MODEL", "zephyr": "PAGODA_CHAT_MODEL"}
# vLLM's options with the same meaning under another name, or the same.
OPTIONS = {"--max-model-len": "--max-context", "--max-num-seqs": "--max-sequences",
           "--max-num-batched-tokens": "--max-batch-tokens", "--api-key": "--api-key", "--root-path": "--root-path",
           "--tool-call-parser": "--tool-call-parser", "--served-model-name": "--served-model-name",
           "--shutdown-timeout": "--drain-timeout", "--allowed-origins": "--cors-origin", "--chat-template": "--chat-template"}
# Counts on pages that nobody has cached; but the stand-in's template begins every prompt with the same sentences.
WANTS_EMPTY_CACHE = "test_anthropic_streaming_cache_usage"
# In place of models that think: a template that shows the stand-in how. Not where it also has to decide whether to call
# a function, which is too much for it.
THINKING_TEMPLATE = pathlib.Path(__file__).with_name("thinking.jinja")
THINKING = ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B")
PARSERS = ("hermes", "llama3_json", "pythonic", "mistral")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def command_line(model, arguments, environment):
    variable = next((variable for part, variable in STAND_INS.items() if part in model), "PAGODA_MODEL")
    command = [os.environ["PAGODA"], "serve", "--model", os.environ[variable]]
    names = []
    for option, value in zip(arguments, [*arguments[1:], ""]):
        if option == "--served-model-name":
            names.append(value)
        elif option == "--chat-template" and not os.path.exists(value) or \
                option == "--tool-call-parser" and value not in PARSERS:
            continue
        elif option in OPTIONS:
            command += [OPTIONS[option], str(value)]
    if model in THINKING and "--reasoning-parser" in arguments:
        command += ["--chat-template", str(THINKING_TEMPLATE)]
    for name in names or [model]:
        command += ["--served-model-name", name]
    if environment and environment.get("VLLM_API_KEY"):
        command += ["--api-key", environment["VLLM_API_KEY"]]
    return command


class RemoteOpenAIServer:
    DUMMY_API_KEY = "token-abc123"
    show_hidden_metrics = False

    def __init__(self, model, vllm_serve_args=(), *, env_dict=None, max_wait_seconds=None, **_):
        self.host = "127.0.0.1"
        self.port = free_port()
        command = command_line(model, list(vllm_serve_args), env_dict) + ["--port", str(self.port)]
        self.proc = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + (max_wait_seconds or 120)
        while True:
            assert self.proc.poll() is None, f"the server ended with status {self.proc.returncode}"
            try:
                if requests.get(self.url_for("ready"), timeout=5).status_code == 200:
                    return
            except requests.ConnectionError:
                pass
            assert time.monotonic() < deadline, "the server is not ready"
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(60)
        finally:
            self.proc.kill()

    @property
    def url_root(self):
        return f"http://{self.host}:{self.port}"

    def url_for(self, *parts):
        return self.url_root + "/" + "/".join(part.strip("/") for part in parts)

    def _get_process_termination_timeout(self):
        return 15.0

    def client_options(self, options):
        return {"base_url": self.url_for("v1"), "api_key": self.DUMMY_API_KEY, "max_retries": 0, "timeout": 600} | options

    def get_client(self, **options):
        return openai.OpenAI(**self.client_options(options))

    def get_async_client(self, **options):
        return openai.AsyncOpenAI(**self.client_options(options))

    def get_client_anthropic(self, **options):
        return anthropic.Anthropic(**self.client_options(options) | {"base_url": self.url_root} | options)

    def get_async_client_anthropic(self, **options):
        return anthropic.AsyncAnthropic(**self.client_options(options) | {"base_url": self.url_root} | options)


class ServedTokenizer:
    """The tokenizer of the newest server, through its own endpoints; vocabulary tests of ours are elsewhere."""

    def __init__(self, url):
        self.url = url

    def encode(self, text, add_special_tokens=True, **_):
        body = {"prompt": text, "add_special_tokens": add_special_tokens}
        return requests.post(self.url("tokenize"), json=body, timeout=60).json()["tokens"]

    def decode(self, tokens, skip_special_tokens=False, **_):
        text = requests.post(self.url("detokenize"), json={"tokens": list(tokens)}, timeout=60).json()["prompt"]
        return re.sub(r"<\|\w+\|>", "", text) if skip_special_tokens else text


newest_server = None


def get_tokenizer(*_, **__):
    return ServedTokenizer(newest_server.url_for)


class Tracked(RemoteOpenAIServer):
    def __init__(self, *arguments, **options):
        global newest_server
        super().__init__(*arguments, **options)
        newest_server = self


class Nothing(types.ModuleType):
    """A module, class or function that exists by name only."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing(name)

    def __call__(self, *_, **__):
        return Nothing("call")

    def __mro_entries__(self, _):
        return ()


class StubFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in STUBBED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = Nothing(spec.name)
        if spec.name in ("vllm.tokenizers", "transformers"):
            module.get_tokenizer = get_tokenizer
            module.AutoTokenizer = types.SimpleNamespace(from_pretrained=get_tokenizer)
        if spec.name == "torch":
            module.iinfo = lambda _: types.SimpleNamespace(min=-2**63, max=2**63 - 1)
        if spec.name == "vllm":
            module.__version__ = "0.32.0"
        return module

    def exec_module(self, module):
        pass


# Before the suite's conftest files are read.
sys.meta_path.insert(0, StubFinder())
for name in ("tests.utils", "tests.conftest", "tests.models.utils", "tests.models.language.pooling.embed_utils"):
    sys.modules[name] = Nothing(name)
sys.modules["tests.utils"].RemoteOpenAIServer = Tracked
sys.modules["tests.utils"].VLLM_PATH = pathlib.Path.cwd()
sys.modules["tests.utils"].ROCM_EXTRA_ARGS = []
sys.modules["tests.utils"].ROCM_ENV_OVERRIDES = {}


@pytest.fixture
def local_asset_server():
    return None



def pytest_collection_modifyitems(config, items):
    selection.apply(config, items)
    items.sort(key=lambda item: item.name == WANTS_EMPTY_CACHE)  # after the other files: with a server of its own


def pytest_runtest_logreport(report):
    selection.count(report)


def pytest_terminal_summary(terminalreporter):
    selection.summary(terminalreporter)
