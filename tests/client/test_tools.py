"""The unchanged openai client: tools, reasoning and the Responses API."""

import json

import openai
import pytest

from saying import CALL, PARAMETERS, say

TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
FLAT_TOOLS = [{"type": "function", "name": "get_weather", "parameters": PARAMETERS, "strict": False}]


def messages(said):
    return [{"role": "user", "content": say(said)}]


def test_tool_call(client):
    answer = client.chat.completions.create(model="fake", messages=messages("I look. " + CALL), tools=TOOLS,
                                            temperature=0)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "I look."
    (call,) = choice.message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Rome"}

    history = messages("x") + [
        choice.message,
        {"role": "tool", "tool_call_id": call.id, "content": say("It is sunny.")},
    ]
    after = client.chat.completions.create(model="fake", messages=history, tools=TOOLS, temperature=0)
    assert after.choices[0].message.content == "It is sunny."


def test_streamed_tool_calls_are_put_together_by_the_client(client):
    with client.chat.completions.stream(model="fake", messages=messages(CALL + CALL), tools=TOOLS,
                                        temperature=0) as stream:
        types = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" in types
    assert types.count("tool_calls.function.arguments.done") == 2
    calls = final.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather"] * 2
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Rome"}] * 2
    assert len({call.id for call in calls}) == 2
    assert final.choices[0].finish_reason == "tool_calls"


def test_demanded_tool_call(client):
    answer = client.chat.completions.create(
        model="fake", messages=[{"role": "user", "content": "x"}], seed=1, max_tokens=400,
        extra_body={"separate_reasoning": False},
        tools=[{"type": "function", "function": {"name": "pick", "parameters": {
            "type": "object", "properties": {"n": {"enum": [1, 2, 3]}}, "required": ["n"],
            "additionalProperties": False}}}],
        tool_choice={"type": "function", "function": {"name": "pick"}})
    (call,) = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments)["n"] in (1, 2, 3)


def test_reasoning(client):
    answer = client.chat.completions.create(model="fake", messages=messages("<think>Hm.</think>Yes."), temperature=0)
    assert answer.choices[0].message.content == "Yes."
    assert answer.choices[0].message.reasoning_content == "Hm."


def test_no_tools(client):
    answer = client.chat.completions.create(model="fake", messages=messages(CALL), temperature=0)
    assert answer.choices[0].message.content == CALL
    assert answer.choices[0].message.tool_calls is None
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="fake", messages=messages(CALL), tools=[])
    assert (caught.value.param, caught.value.code) == ("tools", "empty_array")


def test_bad_tools(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="fake", messages=messages("x"), tools=[{"type": "function"}])
    assert caught.value.param.startswith("tools")


def test_response(client):
    response = client.responses.create(model="fake", instructions="Be brief.", input=say("Hello."), temperature=0)
    assert response.output_text == "Hello."
    assert response.status == "completed"
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_response_with_a_function_call_and_its_output(client):
    first = client.responses.create(model="fake", input=say(CALL), tools=FLAT_TOOLS, temperature=0)
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert json.loads(call.arguments) == {"city": "Rome"}
    history = [{"role": "user", "content": "Weather?"}]
    history += [item.model_dump(exclude_none=True) for item in first.output]
    history += [{"type": "function_call_output", "call_id": call.call_id, "output": say("Sunny.")}]
    second = client.responses.create(model="fake", input=history, tools=FLAT_TOOLS, temperature=0)
    assert second.output_text == "Sunny."


def test_streamed_response(client):
    said = "<think>Hm.</think>I look. " + CALL
    with client.responses.stream(model="fake", input=say(said), tools=FLAT_TOOLS, temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_response()
    types = [event.type for event in events]
    assert types[0] == "response.created" and types[-1] == "response.completed"
    assert [event.sequence_number for event in events] == sorted(event.sequence_number for event in events)
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "I look."
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert json.loads(final.output[2].arguments) == {"city": "Rome"}


def test_cut_response_is_incomplete(client):
    response = client.responses.create(model="fake", input=say("Hello there."), max_output_tokens=3, temperature=0)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


def test_state_is_refused(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="fake", input="x", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
