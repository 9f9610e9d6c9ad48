"""Structured output by the openai client: over the fake model, whose text is random, and over SmolLM2."""

import json
import random
import re

import openai
import pytest

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "email": {"type": ["string", "null"], "maxLength": 10},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "maxItems": 3},
        "address": {"$ref": "#/$defs/address"},
    },
    "required": ["name", "age", "email", "tags", "address"],
    "additionalProperties": False,
    "$defs": {
        "address": {
            "type": "object",
            "properties": {
                "street": {"type": "string", "pattern": "^[A-Z][a-z]{2,6}$"},
                "number": {"type": "integer", "minimum": 1, "maximum": 999},
            },
            "required": ["street"],
            "additionalProperties": False,
        }
    },
}


@pytest.fixture(scope="module")
def real_client(real_server):
    with real_server.client() as running:
        yield running


def random_schema(rng, depth=0):
    """A schema whose texts are short enough for a model that draws at random."""
    plain = ["integer", "string", "enum", "boolean", "null", "number"]
    kind = rng.choice(plain + (["object", "array", "anyOf"] if depth < 3 else []))
    if kind == "integer":
        low = rng.randrange(-500, 500)
        return {"type": "integer", "minimum": low, "maximum": low + rng.randrange(1, 5000)}
    if kind == "number":
        return {"type": "number", "minimum": 0, "maximum": rng.randrange(1, 9), "multipleOf": 0.5}
    if kind == "string":
        limit = rng.choice([{"maxLength": rng.randrange(1, 9)}, {"pattern": "^[a-f]{1,5}(x|yz)$"}])
        return {"type": "string"} | limit
    if kind == "enum":
        return {"enum": rng.sample(["red", "grün", 7, None, True, 2.5], rng.randrange(1, 5))}
    if kind == "array":
        items = random_schema(rng, depth + 1)
        return {"type": "array", "items": items, "minItems": rng.randrange(2), "maxItems": rng.randrange(2, 4)}
    if kind == "anyOf":
        return {"anyOf": [random_schema(rng, depth + 1) for _ in range(2)]}
    if kind == "object":
        names = rng.sample(["a", "b c", "größe", 'q"uote', "e"], rng.randrange(1, 4))
        return {
            "type": "object",
            "properties": {name: random_schema(rng, depth + 1) for name in names},
            "required": names[: rng.randrange(0, len(names) + 1)],
            "additionalProperties": False,
        }
    return {"type": kind}


def fits(value, schema, root):
    """Whether the value fits the schema, of the keywords that are used here."""
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if "anyOf" in schema:
        return any(fits(value, branch, root) for branch in schema["anyOf"])
    if "enum" in schema:
        return any(type(value) is type(member) and value == member for member in schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return any(fits_type(value, kind, schema, root) for kind in kinds)


def fits_type(value, kind, schema, root):
    if kind == "null":
        return value is None
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in ("integer", "number"):
        types = int if kind == "integer" else (int, float)
        step = schema.get("multipleOf")
        return (
            isinstance(value, types)
            and not isinstance(value, bool)
            and schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and (step is None or value % step == 0)
        )
    if kind == "string":
        length = isinstance(value, str) and len(value) <= schema.get("maxLength", len(value))
        return length and ("pattern" not in schema or re.search(schema["pattern"], value) is not None)
    if kind == "array":
        bounds = isinstance(value, list) and schema.get("minItems", 0) <= len(value) <= schema["maxItems"]
        return bounds and all(fits(item, schema["items"], root) for item in value)
    assert kind == "object" and schema["additionalProperties"] is False
    return (
        isinstance(value, dict)
        and set(schema.get("required", [])) <= set(value) <= set(schema["properties"])
        and all(fits(member, schema["properties"][name], root) for name, member in value.items())
    )


def assert_fits(text, schema):
    assert fits(json.loads(text), schema, schema), text


def response_format(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def ask(client, **options):
    messages = [{"role": "user", "content": "Describe a person in JSON."}]
    return client.chat.completions.create(model=client.models.list().data[0].id, messages=messages, **options)


def test_random_walks_fit_random_schemas(client):
    rng = random.Random(5)
    finished = 0
    for seed in range(50):
        properties = {"x": random_schema(rng), "y": random_schema(rng)}
        schema = {"type": "object", "properties": properties, "required": ["x"], "additionalProperties": False}
        answer = ask(client, response_format=response_format(schema), seed=seed, temperature=1.0, max_tokens=600)
        assert answer.choices[0].finish_reason in ("stop", "length")
        if answer.choices[0].finish_reason == "stop":
            finished += 1
            assert_fits(answer.choices[0].message.content, schema)
    assert finished >= 45


def test_errors_name_the_parameter(client):
    bad = [
        (response_format({"not": {}}), "response_format.json_schema.schema"),
        (response_format({"type": "array", "uniqueItems": True}), "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, "response_format.json_schema.schema"),
        ({"type": "yaml"}, "response_format.type"),
    ]
    for value, param in bad:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, response_format=value)
        assert caught.value.param == param


def test_a_schema_on_a_real_model(real_client):
    for options in ({"temperature": 0}, {"temperature": 1.0, "seed": 3}):
        answer = ask(real_client, response_format=response_format(PERSON), max_tokens=300, **options)
        assert answer.choices[0].finish_reason == "stop"
        assert_fits(answer.choices[0].message.content, PERSON)


def test_a_streamed_schema_is_the_plain_one(real_client):
    options = {"response_format": response_format(PERSON), "max_tokens": 300, "temperature": 0}
    plain = ask(real_client, **options).choices[0].message.content
    chunks = [chunk for chunk in ask(real_client, stream=True, **options) if chunk.choices]
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == plain
    assert len(pieces) > 10


def test_every_choice_fits(real_client):
    answer = ask(real_client, response_format=response_format(PERSON), max_tokens=300, temperature=1.2, seed=1, n=4)
    texts = [choice.message.content for choice in answer.choices]
    assert len(set(texts)) > 1
    for choice in answer.choices:
        assert choice.finish_reason == "stop"
        assert_fits(choice.message.content, PERSON)


def test_regex_choice_and_grammar(real_client):
    def text(**structured):
        answer = ask(real_client, max_tokens=60, temperature=0.8, seed=2, extra_body={"structured_outputs": structured})
        assert answer.choices[0].finish_reason == "stop"
        return answer.choices[0].message.content

    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", text(regex=r"\d{4}-\d{2}-\d{2}"))
    assert text(choice=["positive", "negative"]) in ("positive", "negative")
    assert re.fullmatch(r"\d+([+*]\d+){1,3}", text(grammar='root ::= num ([+*] num){1,3}\nnum ::= [0-9]{1,4}'))
    assert text(grammar='start: "yes" | "no"') in ("yes", "no")


def test_json_object(real_client):
    answer = ask(real_client, response_format={"type": "json_object"}, max_tokens=400, temperature=0)
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)
    else:
        assert answer.choices[0].message.content.startswith("{")
