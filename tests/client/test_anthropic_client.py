"""The unchanged anthropic client: messages, streams, tools, counting and errors."""

import anthropic
import pytest

from saying import CALL, PARAMETERS, say

TOOLS = [{"name": "get_weather", "description": "The weather of a city", "input_schema": PARAMETERS}]


@pytest.fixture(scope="module")
def anthropic_client(server):
    with server.anthropic_client() as client:
        yield client


def create(client, said, **options):
    options = {"model": "fake", "max_tokens": 300, "extra_body": {"temperature": 0}} | options
    return client.messages.create(messages=[{"role": "user", "content": say(said)}], **options)


def test_message(anthropic_client):
    message = create(anthropic_client, "Hello.", system="Be brief.")
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text == "Hello."
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == 7


def test_tool_use_and_result(anthropic_client):
    message = create(anthropic_client, "I look. " + CALL, tools=TOOLS)
    assert message.stop_reason == "tool_use"
    text, use = message.content
    assert text.text == "I look."
    assert (use.name, use.input) == ("get_weather", {"city": "Rome"})
    history = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": say("Sunny.")}]},
    ]
    after = anthropic_client.messages.create(model="fake", max_tokens=50, extra_body={"temperature": 0}, tools=TOOLS, messages=history)
    assert after.content[0].text == "Sunny."


def test_stream(anthropic_client):
    said = "<think>Hm.</think>I look. " + CALL
    with anthropic_client.messages.stream(model="fake", max_tokens=300, extra_body={"temperature": 0}, tools=TOOLS,
                                          messages=[{"role": "user", "content": say(said)}]) as stream:
        types = [event.type for event in stream]
        final = stream.get_final_message()
    assert types[0] == "message_start" and types[-1] == "message_stop"
    assert [block.type for block in final.content] == ["thinking", "text", "tool_use"]
    assert final.content[0].thinking == "Hm."
    assert final.content[1].text == "I look."
    assert final.content[2].input == {"city": "Rome"}
    assert final.stop_reason == "tool_use"
    assert final.usage.output_tokens > 0


def test_stop_sequence_and_length(anthropic_client):
    stopped = create(anthropic_client, "one two three", stop_sequences=["two"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "two")
    assert create(anthropic_client, "one two three", max_tokens=2).stop_reason == "max_tokens"


def test_demanded_tool(anthropic_client):
    message = anthropic_client.messages.create(
        model="fake", max_tokens=400, extra_body={"separate_reasoning": False, "seed": 1}, messages=[{"role": "user", "content": "x"}],
        tools=[{"name": "pick", "input_schema": {"type": "object", "properties": {"n": {"enum": [1, 2]}},
                                                  "required": ["n"], "additionalProperties": False}}],
        tool_choice={"type": "tool", "name": "pick"})
    assert message.content[-1].input["n"] in (1, 2)


def test_count_tokens(anthropic_client):
    counted = anthropic_client.messages.count_tokens(model="fake", messages=[{"role": "user", "content": "Hello!"}])
    message = anthropic_client.messages.create(model="fake", max_tokens=1, messages=[{"role": "user",
                                                                                      "content": "Hello!"}])
    usage = message.usage
    assert counted.input_tokens == (usage.input_tokens + usage.cache_creation_input_tokens +
                                    usage.cache_read_input_tokens)


def test_errors(server, anthropic_client):
    with pytest.raises(anthropic.BadRequestError) as caught:
        anthropic_client.messages.create(model="fake", max_tokens=5, messages=[])
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    with pytest.raises(anthropic.NotFoundError):
        create(anthropic_client, "x", model="other")
