"""The unchanged openai client against the fake model: every answer must fit its types, every error its exceptions."""

import asyncio

import openai
import pytest

from conftest import start_fake_server

MESSAGES = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "Hello there!"}]
FIXED = {"seed": 1, "extra_body": {"ignore_eos": True}}


def chat(client, **options):
    return client.chat.completions.create(model="fake", messages=MESSAGES, **(FIXED | options))


def test_chat(client):
    answer = chat(client, max_tokens=10)
    assert answer.object == "chat.completion"
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.role == "assistant"
    assert len(answer.choices[0].message.content) >= 10
    assert answer.usage.completion_tokens == 10
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 10
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0
    assert answer._request_id


def test_chat_stream_equals_the_whole_answer(client):
    whole = chat(client, max_tokens=40)
    stream = chat(client, max_tokens=40, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["length"]
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def letter_in(text):
    """A letter of the text, not among its first ones."""
    return next(text[i] for i in range(5, len(text)) if text[i].isascii() and text[i].isalpha())


def test_streaming_helper(client):
    text = chat(client, max_tokens=30).choices[0].message.content
    stop = letter_in(text)
    with client.chat.completions.stream(model="fake", messages=MESSAGES, stop=stop, **FIXED) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    assert any(event.type == "content.delta" for event in events)
    assert final.choices[0].message.content == text[: text.index(stop)]


def test_async_clients(server):
    async def run():
        async with server.async_client() as client:
            return await asyncio.gather(*(chat(client, max_tokens=5, n=2) for _ in range(8)))

    answers = asyncio.run(run())
    assert len({answer.choices[1].message.content for answer in answers}) == 1
    assert len({answer.id for answer in answers}) == 8


def test_async_stream(server):
    async def run():
        async with server.async_client() as client:
            stream = await chat(client, max_tokens=5, stream=True)
            return [chunk async for chunk in stream]

    assert asyncio.run(run())[-1].choices[0].finish_reason == "length"


def test_several_choices(client):
    answer = chat(client, max_tokens=6, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) == 3


def test_chat_logprobs(client):
    answer = chat(client, max_tokens=6, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    assert len(content) == 6
    assert all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in content)
    joined = b"".join(bytes(token.bytes) for token in content)
    assert joined.decode(errors="replace") == answer.choices[0].message.content


def test_stop(client):
    text = chat(client, max_tokens=30).choices[0].message.content
    stop = letter_in(text)
    cut = chat(client, max_tokens=30, stop=[stop])
    assert cut.choices[0].finish_reason == "stop"
    assert cut.choices[0].message.content == text[: text.index(stop)]


def test_completions(client):
    answer = client.completions.create(
        model="fake", prompt=["one", "two"], max_tokens=4, n=2, logprobs=2, echo=True, **FIXED
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.choices[0].text.startswith("one") and answer.choices[3].text.startswith("two")
    logprobs = answer.choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset) == len(logprobs.top_logprobs)
    assert logprobs.token_logprobs[0] is None


def test_completion_stream_of_tokens(client):
    options = {"model": "fake", "prompt": [70, 71, 72], "max_tokens": 12} | FIXED
    whole = client.completions.create(**options).choices[0].text
    assert "".join(chunk.choices[0].text for chunk in client.completions.create(stream=True, **options)) == whole


def test_models(client):
    assert [model.id for model in client.models.list()] == ["fake", "org/fake-model"]
    assert client.models.retrieve("org/fake-model").owned_by == "pagoda"


def test_errors_have_their_types(client):
    with pytest.raises(openai.BadRequestError) as bad:
        chat(client, temperature=9)
    assert (bad.value.param, bad.value.code, bad.value.type) == (
        "temperature",
        "decimal_above_max_value",
        "invalid_request_error",
    )
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-9", messages=MESSAGES)
    assert (missing.value.param, missing.value.code) == ("model", "model_not_found")
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model="fake", prompt="." * 5000)
    assert long.value.code == "context_length_exceeded"
    assert "maximum context length is 2048 tokens" in long.value.message and "5001 tokens" in long.value.message
    with pytest.raises(openai.NotFoundError):
        client.moderations.create(input="x")


def test_keys():
    guarded = start_fake_server("--api-key", "secret")
    with guarded.client(api_key="wrong") as client, pytest.raises(openai.AuthenticationError) as refused:
        chat(client)
    assert refused.value.code == "invalid_api_key"
    with guarded.client(api_key="secret") as client:
        assert chat(client, max_tokens=1).choices
    assert guarded.stop() == 0


def test_overload_is_a_rate_limit_error():
    small = start_fake_server("--max-sequences", "1", "--max-queued", "1", "--step-us", "20000")

    async def run():
        async with small.async_client() as client:
            running = await chat(client, max_tokens=1500, stream=True)
            queued = asyncio.ensure_future(chat(client, max_tokens=1))
            await asyncio.to_thread(small.wait_until, lambda: small.metric("vllm:num_requests_waiting") == 1)
            refused = await asyncio.gather(*(chat(client, max_tokens=1) for _ in range(6)), return_exceptions=True)
            await running.close()
            return refused, await queued

    refused, queued = asyncio.run(run())
    assert queued.usage.completion_tokens == 1
    for error in refused:
        assert isinstance(error, openai.RateLimitError)
        assert error.code == "rate_limit_exceeded" and int(error.response.headers["retry-after"]) >= 1
    small.wait_until_idle()
    assert small.stop() == 0


def test_a_client_that_closes_its_stream_frees_the_pages():
    slow = start_fake_server("--step-us", "20000")
    with slow.client() as client:
        stream = chat(client, max_tokens=1500, stream=True)
        for _, _chunk in zip(range(5), stream):
            pass
        assert slow.metric("vllm:num_requests_running") == 1
        stream.close()
        slow.wait_until_idle()
    assert slow.metric("vllm:request_success_total", 'finished_reason="abort"') == 1
    assert slow.stop() == 0
