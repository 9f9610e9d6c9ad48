"""What the suites of llama.cpp and vLLM found; docs/conformance.md says how to run them."""

import json

import pytest

from saying import say


def chat(server, **fields):
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8, "temperature": 0} | fields
    answer = server.http.post("/v1/chat/completions", json=body)
    return answer.status_code, answer.json()


def test_paths_without_version(server):
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    assert server.http.post("/chat/completions", json=body).status_code == 200
    assert server.http.get("/models").json()["data"][0]["id"] == "fake"
    assert server.http.get("/nothing").status_code == 404
    assert server.http.get("/chat/completions").status_code == 405


def test_constraints_by_llama_cpps_names(server):
    status, answer = chat(server, grammar='root ::= "aaa"')
    assert status == 200 and answer["choices"][0]["message"]["content"] == "aaa"
    status, answer = chat(server, json_schema={"const": "x"}, separate_reasoning=False)
    assert status == 200 and json.loads(answer["choices"][0]["message"]["content"]) == "x"
    status, answer = chat(server, grammar="root ::= this is (not valid")
    assert status == 400 and answer["error"]["param"] == "grammar"
    status, answer = chat(server, json_schema={"const": "x"}, grammar='root ::= "a"')
    assert status == 400


def test_the_side_that_is_truncated(client):
    prompt = [10, 11, 12, 13, 14, 15]

    def kept(**fields):
        body = {"truncate_prompt_tokens": 4, "return_token_ids": True} | fields
        answer = client.completions.create(model="fake", prompt=prompt, max_tokens=1, extra_body=body)
        return answer.choices[0].prompt_token_ids

    assert kept() == kept(truncation_side="left") == prompt[-4:]
    assert kept(truncation_side="right") == prompt[:4]


def test_what_is_not_asked_for_is_null(client):
    answer = client.completions.create(model="fake", prompt="hello", max_tokens=1)
    assert answer.choices[0].prompt_logprobs is None and answer.choices[0].token_ids is None
    messages = [{"role": "user", "content": "hi"}]
    answer = client.chat.completions.create(model="fake", messages=messages, max_tokens=1)
    assert answer.prompt_logprobs is None and answer.choices[0].token_ids is None


def test_rates_leave_out_the_first_token(server):
    status, answer = chat(server, max_tokens=1, ignore_eos=True)
    assert status == 200 and answer["timings"]["predicted_per_second"] == 0
    status, answer = chat(server, max_tokens=8, ignore_eos=True)
    timings = answer["timings"]
    assert timings["predicted_n"] == 8
    assert timings["predicted_per_second"] == pytest.approx(1e3 * 7 / timings["predicted_ms"])


def test_preemptions_of_requests_are_a_metric(server):
    chat(server)
    assert server.metric("vllm:request_num_preemptions_count") >= 1


def test_references_in_a_tools_schema(client):
    day = {"type": "string", "enum": ["Monday"]}
    parameters = {"type": "object", "properties": {"day": {"$ref": "#/$defs/Day"}}, "required": ["day"],
                  "additionalProperties": False, "$defs": {"Day": day}}
    tools = [{"type": "function", "function": {"name": "book", "parameters": parameters}}]
    messages = [{"role": "user", "content": "hi"}]
    answer = client.chat.completions.create(model="fake", messages=messages, tools=tools, tool_choice="required",
                                            parallel_tool_calls=False, max_tokens=200, temperature=0,
                                            extra_body={"separate_reasoning": False})
    assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments) == {"day": "Monday"}


def test_log_probabilities_of_a_response(client):
    wanted = {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "temperature": 0}
    response = client.responses.create(model="fake", input=say("Hello."), **wanted)
    entries = response.output[0].content[0].logprobs
    assert "".join(entry.token for entry in entries).startswith("Hello.")
    assert all(len(entry.top_logprobs) == 2 for entry in entries)
    with client.responses.stream(model="fake", input=say("Hello."), **wanted) as stream:
        events = list(stream)
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert deltas and all(event.logprobs for event in deltas)
    assert not client.responses.create(model="fake", input=say("Hello."), temperature=0).output[0].content[0].logprobs


def test_thinking_is_counted_in_a_response(client):
    thought = client.responses.create(model="fake", input=say("<think>Hm, let me see.</think>Yes."), temperature=0)
    details = thought.usage.output_tokens_details
    assert 0 < details.reasoning_tokens < thought.usage.output_tokens
    plain = client.responses.create(model="fake", input=say("Yes."), temperature=0)
    assert plain.usage.output_tokens_details.reasoning_tokens == 0
