"""Hooks of schemathesis_run.py: what is generated stays small, so that thousands of requests end in minutes."""

import schemathesis

MAX_TOKENS = 4
CHOICES = 3
# What bounds the answer of those that generate; required in /v1/messages, so that its absence has to be refused.
BOUNDS = {"/v1/chat/completions": "max_tokens", "/v1/completions": "max_tokens", "/v1/responses": "max_output_tokens"}
LIMITS = {"n": CHOICES, "best_of": CHOICES, "max_tokens": MAX_TOKENS, "max_completion_tokens": MAX_TOKENS,
          "max_output_tokens": MAX_TOKENS, "min_tokens": 1}


def is_integer(value):
    """Also where JSON has it as 5.0."""
    return type(value) is int or (type(value) is float and value.is_integer())


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    body = dict(body)
    for name, limit in LIMITS.items():
        # Values of a wrong type or sign stay: they have to be refused.
        if is_integer(body.get(name)) and body[name] > limit:
            body[name] = limit
    bound = BOUNDS.get(context.operation.path)
    if bound is not None and body.get(bound) is None:
        body[bound] = MAX_TOKENS
    return body
