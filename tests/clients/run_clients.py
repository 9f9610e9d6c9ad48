#!/usr/bin/env python3
"""Clients and load generators that others have made, unchanged, against a served model.

    python tests/clients/run_clients.py [--url http://127.0.0.1:8000] [--only openai,litellm]

Each client is one function below; one that is not installed is named and skipped (--strict makes that a failure).
Without --url it serves the SmolLM2 of the folder PAGODA_MODELS (or --model) with the pagoda of PAGODA_BUILD (default:
build/release). Requirements: tests/clients/requirements-heavy.txt.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("PAGODA_BUILD", ROOT / "build" / "release"))
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


class NotInstalled(Exception):
    pass


def need_module(name):
    if importlib.util.find_spec(name) is None:
        raise NotInstalled(f"the package {name} is not installed")


def need_program(name):
    beside = pathlib.Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise NotInstalled(f"the program {name} is not installed")
    return found


def run_program(command, folder, seconds=900):
    # Nothing may be looked for on the network.
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OPENAI_API_KEY": "none",
               "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, cwd=folder, env=os.environ | offline, capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise AssertionError(f"status {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def openai_client(url, model, folder):
    need_module("openai")
    import openai

    with openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=120) as client:
        assert model in [served.id for served in client.models.list()]
        whole = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=16, temperature=0)
        assert whole.usage.completion_tokens <= 16 and whole.choices[0].message.content
        pieces = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=16, temperature=0, stream=True,
                                                stream_options={"include_usage": True})
        text, usage = "", None
        for chunk in pieces:
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            usage = chunk.usage or usage
        assert text == whole.choices[0].message.content, (text, whole)
        assert usage.completion_tokens == whole.usage.completion_tokens
        try:
            client.chat.completions.create(model="no-such-model", messages=QUESTION)
        except openai.NotFoundError as error:
            assert error.code == "model_not_found", error
        else:
            raise AssertionError("an unknown model was accepted")


def langchain_openai(url, model, folder):
    need_module("langchain_openai")
    import langchain_openai

    chat = langchain_openai.ChatOpenAI(base_url=url + "/v1", api_key="none", model=model, max_tokens=16, temperature=0)
    answer = chat.invoke("What is the capital of France?")
    assert answer.content and answer.usage_metadata["output_tokens"] <= 16
    assert "".join(piece.content for piece in chat.stream("What is the capital of France?")) == answer.content
    assert len(chat.batch(["One?", "Two?"])) == 2
    schema = {"title": "City", "type": "object", "properties": {"name": {"type": "string", "maxLength": 12}},
              "required": ["name"], "additionalProperties": False}
    bounded = langchain_openai.ChatOpenAI(base_url=url + "/v1", api_key="none", model=model, max_tokens=64, temperature=0)
    structured = bounded.with_structured_output(schema, method="json_schema", strict=True).invoke("Name a city.")
    assert set(structured) == {"name"}, structured


def litellm_client(url, model, folder):
    need_module("litellm")
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it looks for one on the network
    import litellm

    common = {"model": "openai/" + model, "api_base": url + "/v1", "api_key": "none", "messages": QUESTION, "max_tokens": 16,
              "temperature": 0}
    whole = litellm.completion(**common)
    text = "".join(piece.choices[0].delta.content or "" for piece in litellm.completion(stream=True, **common))
    assert text == whole.choices[0].message.content and whole.usage.completion_tokens <= 16
    try:
        litellm.completion(**common | {"max_tokens": 10**7})
    except litellm.exceptions.ContextWindowExceededError:
        pass
    else:
        raise AssertionError("more tokens than the context holds were accepted")


def guidellm_load(url, model, folder):
    need_module("guidellm")
    data = folder / "prompts.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"Tell me about the number {number}.", "output_tokens_count": 8}) + "\n"
                            for number in range(12)))
    run_program([need_program("guidellm"), "run", "--disable-console-interactive",
                 "--backend", f"kind=openai_http,target={url},model={model}",
                 "--profile", "kind=concurrent,streams=4", "--constraint", "kind=max_requests,count=12",
                 "--data", f"kind=json_file,path={data}",
                 "--output", f"kind=json,path={folder}/guidellm.json"], folder)
    totals = json.loads((folder / "guidellm.json").read_text())["benchmarks"][0]["metrics"]["request_totals"]
    assert totals["successful"] == 12 and totals["errored"] == 0, totals


def lm_eval_chat(url, model, folder):
    need_module("lm_eval")
    (folder / "sums.jsonl").write_text("".join(json.dumps({"question": f"{a}+{a}=", "answer": str(2 * a)}) + "\n"
                                               for a in range(1, 7)))
    (folder / "sums.yaml").write_text("\n".join([
        "task: sums", "dataset_path: json", "dataset_kwargs:", "  data_files:", f"    test: {folder}/sums.jsonl",
        "test_split: test", "output_type: generate_until", 'doc_to_text: "{{question}}"', 'doc_to_target: "{{answer}}"',
        "generation_kwargs:", "  max_gen_toks: 8", '  until: ["\\n"]', "metric_list:", "  - metric: exact_match", ""]))
    arguments = f"base_url={url}/v1/chat/completions,model={model},num_concurrent=2,max_retries=1,tokenized_requests=False"
    run_program([need_program("lm_eval"), "run", "--model", "local-chat-completions", "--model_args", arguments,
                 "--tasks", "sums", "--include_path", str(folder), "--apply_chat_template", "--output_path",
                 str(folder / "scores")], folder)
    scores = [json.loads(path.read_text()) for path in (folder / "scores").rglob("results_*.json")]
    assert scores and "exact_match,none" in scores[0]["results"]["sums"], scores


def vllm_bench_serve(url, model, folder):
    need_module("vllm")
    output = run_program([need_program("vllm"), "bench", "serve", "--backend", "openai-chat", "--base-url", url, "--endpoint",
                          "/v1/chat/completions", "--model", model, "--tokenizer", os.environ["PAGODA_TOKENIZER"],
                          "--dataset-name", "random", "--random-input-len", "64", "--random-output-len", "16",
                          "--num-prompts", "16", "--max-concurrency", "4"], folder)
    assert re.search(r"Successful requests: +16\b", output), output[-2000:]


CLIENTS = {"openai": openai_client, "langchain-openai": langchain_openai, "litellm": litellm_client,
           "guidellm": guidellm_load, "lm-eval": lm_eval_chat, "vllm-bench-serve": vllm_bench_serve}


def start_server(model):
    found = sorted(pathlib.Path(os.environ.get("PAGODA_MODELS", "/nonexistent")).glob("*SmolLM2-135M*.gguf"))
    if not model and not found:
        sys.exit("PAGODA_MODELS holds no SmolLM2: give --url or --model")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen([BUILD / "bin" / "pagoda", "serve", "--model", model or found[0], "--port", str(port),
                               "--served-model-name", "smollm2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url + "/ready", timeout=5).close()
            return url, server
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    server.kill()
    sys.exit("the server is not ready")


def served_model(url):
    with urllib.request.urlopen(url + "/v1/models", timeout=30) as answer:
        return json.load(answer)["data"][0]["id"]


def run_all(url, chosen, strict):
    failed = False
    model = served_model(url)
    for name in chosen:
        started = time.monotonic()
        try:
            with tempfile.TemporaryDirectory() as folder:
                CLIENTS[name](url, model, pathlib.Path(folder))
            outcome = "passed"
        except NotInstalled as missing:
            outcome = f"skipped: {missing}"
            failed = failed or strict
        except Exception:  # whatever a client raises is its verdict
            traceback.print_exc()
            outcome = "FAILED"
            failed = True
        print(f"{name:<18} {outcome} ({time.monotonic() - started:.1f} s)", flush=True)
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="of a running server")
    parser.add_argument("--model", help="to serve, where no URL is given")
    parser.add_argument("--only", default=",".join(CLIENTS), help=f"of {', '.join(CLIENTS)}")
    parser.add_argument("--strict", action="store_true", help="a client that is not installed is a failure")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := [name for name in chosen if name not in CLIENTS]:
        parser.error(f"unknown clients: {', '.join(unknown)}")
    url, server = (arguments.url, None) if arguments.url else start_server(arguments.model)
    try:
        status = run_all(url, chosen, arguments.strict)
        if server is not None and server.poll() is not None:
            sys.exit(f"the server ended with status {server.returncode}")
    finally:
        if server is not None:
            server.terminate()
            server.wait(60)
    sys.exit(status)


if __name__ == "__main__":
    main()
