"""The unchanged openai client: embeddings, and parameters beside the core."""

import math

import openai
import pytest


def test_embeddings_come_as_base64_unless_asked_otherwise(client):
    packed = client.embeddings.create(model="fake", input=["hello", "world"])
    plain = client.embeddings.create(model="fake", input=["hello", "world"], encoding_format="float")
    assert [item.index for item in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-7)
        assert math.isclose(sum(value * value for value in one.embedding), 1, abs_tol=1e-5)
    assert packed.usage == plain.usage and packed.usage.total_tokens > 2


def test_embeddings_of_tokens(client):
    alone = client.embeddings.create(model="fake", input=[5, 6, 7])
    batch = client.embeddings.create(model="fake", input=[[8], [5, 6, 7]])
    assert batch.data[1].embedding == alone.data[0].embedding
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="fake", input="")
    assert caught.value.param == "input"


def test_usage_of_every_chunk(client):
    stream = client.completions.create(
        model="fake", prompt="hello", max_tokens=5, stream=True, seed=1,
        stream_options={"include_usage": True, "continuous_usage_stats": True}, extra_body={"ignore_eos": True})
    counts = [chunk.usage.completion_tokens for chunk in stream]
    assert counts == sorted(counts) and counts[-1] == 5


def test_best_of_and_prompt_logprobs(client):
    answer = client.completions.create(model="fake", prompt=["hello", "you"], n=2, best_of=4, max_tokens=3, seed=1,
                                       extra_body={"prompt_logprobs": 1, "ignore_eos": True})
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.usage.completion_tokens == 2 * 4 * 3
    assert answer.choices[0].prompt_logprobs[0] is None and len(answer.choices[0].prompt_logprobs[1]) >= 1


def test_metadata_and_the_like_are_checked(client):
    fields = {"metadata": {"purpose": "test"}, "store": False, "service_tier": "auto", "user": "someone"}
    messages = [{"role": "user", "content": "hi"}]
    assert client.chat.completions.create(model="fake", messages=messages, max_tokens=1, **fields).choices
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="fake", messages=messages, metadata={"a": 5})
    assert caught.value.param == "metadata.a"


def test_tokens_go_round(server):
    text = "hello, wörld"
    tokens = server.http.post("/tokenize", json={"prompt": text, "add_special_tokens": False}).json()
    assert tokens["count"] == len(tokens["tokens"])
    assert server.http.post("/detokenize", json={"tokens": tokens["tokens"]}).json()["prompt"] == text


def test_openapi(server):
    document = server.http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1") and "/v1/embeddings" in document["paths"]
