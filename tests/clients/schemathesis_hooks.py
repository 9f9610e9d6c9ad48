"""Hooks of schemathesis_run.py: what is generated stays small, so that thousands of requests end in minutes."""

import schemathesis

MAX_TOKENS = 4
CHOICES = 3
GENERATING = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")
LIMITS = {"n": CHOICES, "best_of": CHOICES, "max_completion_tokens": MAX_TOKENS, "max_output_tokens": MAX_TOKENS,
          "min_tokens": 1}


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict) or context.operation.path not in GENERATING:
        return body
    body = dict(body)
    for name, limit in LIMITS.items():
        # Values of a wrong type or sign stay: they have to be refused.
        if type(body.get(name)) is int and body[name] > limit:
            body[name] = limit
    if "max_tokens" not in body or (type(body["max_tokens"]) is int and body["max_tokens"] > MAX_TOKENS):
        body["max_tokens"] = MAX_TOKENS
    return body
