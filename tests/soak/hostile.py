"""What hostile clients send. Each maker takes a random generator and returns the pieces of one connection: bytes to
send, numbers of seconds to wait, and HALF_CLOSE."""

import json

HALF_CLOSE = object()
PATHS = ("/v1/chat/completions", "/v1/completions")


def post(body, path=None, headers=b"", version=b"1.1", rng=None):
    path = path or rng.choice(PATHS)
    head = b"POST %s HTTP/%s\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n"
    return head % (path.encode(), version, len(body), headers) + body


def chat(**fields):
    return {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2} | fields


def completion(**fields):
    return {"prompt": "Hi", "max_tokens": 2} | fields


def malformed_json(rng):
    body = json.dumps(chat()).encode()
    cut = rng.randrange(len(body))
    kinds = (
        lambda: body[:cut],
        lambda: body + body,
        lambda: body[:cut] + bytes([rng.randrange(256)]) + body[cut:],
        lambda: b'{"prompt": NaN}',
        lambda: b"'single'",
        lambda: b'{"prompt": "a",}',
        lambda: b"",
        lambda: rng.randbytes(rng.randrange(2000)),
    )
    return [post(rng.choice(kinds)(), rng=rng)]


WRONG = [None, True, -1, 0, 1.5, "x", [], {}, [[]], [None], {"a": {}}, 10**400, -(2**63), 2**64, 1e308, "", "\0", [1, "a"]]
FIELDS = (
    "model messages prompt stream stream_options temperature top_p top_k min_p repetition_penalty presence_penalty "
    "frequency_penalty logit_bias seed n best_of max_tokens max_completion_tokens min_tokens stop stop_token_ids "
    "logprobs top_logprobs tools tool_choice response_format echo suffix priority user ignore_eos "
    "chat_template_kwargs continue_final_message add_generation_prompt metadata structured_outputs"
).split()


def wrong_types(rng):
    body = rng.choice((chat, completion))()
    for _ in range(rng.randrange(1, 4)):
        body[rng.choice(FIELDS)] = rng.choice(WRONG)
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] > 4:
        body["max_tokens"] = 2
    for name in ("max_completion_tokens", "n", "best_of"):
        if isinstance(body.get(name), int) and body[name] > 4:
            del body[name]
    return [post(json.dumps(body).encode(), rng=rng)]


def absurd_numbers(rng):
    number = rng.choice((b"1e999", b"-1e999", b"9" * 5000, b"0." + b"0" * 5000 + b"1", b"-0", b"1E+0000000000001", b"1e-400"))
    name = rng.choice((b"temperature", b"top_p", b"seed", b"n", b"max_tokens", b"top_k", b"min_p"))
    return [post(b'{"prompt":"a","max_tokens":1,"%s":%s}' % (name, number), "/v1/completions")]


def huge_body(rng):
    announced = rng.choice((17 << 20, 1 << 40, 2**63 - 1, 2**64 - 1, 10**30))
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % announced
    return [head, b"x" * rng.randrange(1 << 18)]


def large_body(rng):
    return [post(json.dumps(completion(prompt="a b " * rng.randrange(1000, 100_000))).encode(), rng=rng)]


def oversized_prompt(rng):
    words = " ".join("word" for _ in range(rng.randrange(9_000, 40_000)))
    body = chat(messages=[{"role": "user", "content": words}]) if rng.random() < 0.5 else completion(prompt=words)
    return [post(json.dumps(body).encode(), PATHS[0] if "messages" in body else PATHS[1])]


def deep_nesting(rng):
    depth = rng.choice((40, 65, 1000, 100_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    nested = opening * depth + b"1" + closing * (depth if rng.random() < 0.5 else 0)
    return [post(b'{"prompt":"a","max_tokens":1,"metadata":' + nested + b"}", rng=rng)]


def bad_utf8(rng):
    bad = rng.choice((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80" * 50, b"\\ud800", b"\\udc00\\ud800"))
    return [post(b'{"messages":[{"role":"user","content":"a' + bad + b'"}],"prompt":"' + bad + b'","max_tokens":1}', rng=rng)]


def bad_chunks(rng):
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    kinds = (
        b"zz\r\nabc\r\n",
        b"ffffffffffffffffff\r\nabc",
        b"-1\r\nabc\r\n0\r\n\r\n",
        b"5\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcX\r\n0\r\n\r\n",
        b"3;" + b"x" * 20_000 + b"\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"0\r\n" + b"Trailer: x\r\n" * 3000 + b"\r\n",
        b"7fffffff\r\n" + b"a" * 1000,
        b"1\r\n{\r\n" * 500 + b"0\r\n\r\n",
    )
    return [head, rng.choice(kinds)]


def smuggling(rng):
    body = json.dumps(completion()).encode()
    headers = rng.choice(
        (
            b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n" % len(body),
            b"Content-Length: %d\r\nContent-Length: 3\r\n" % len(body),
            b"Content-Length: +5\r\n",
            b"Content-Length: -5\r\n",
            b"Content-Length: 5, 5\r\n",
            b"Content-Length: 0x10\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Transfer-Encoding: chunked, gzip\r\n",
            b"Transfer-Encoding: gzip\r\n",
            b"Transfer-Encoding: xchunked\r\n",
            b"Transfer-Encoding: \x0bchunked\r\n",
        )
    )
    return [b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + body]


def header_flood(rng):
    kind = rng.randrange(4)
    if kind == 0:
        flood = b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(5000))
    elif kind == 1:
        flood = b"X: " + b"a" * rng.randrange(1000, 1 << 20) + b"\r\n"
    elif kind == 2:
        flood = b"A" * rng.randrange(1000, 1 << 18)
    else:
        flood = b"Authorization: Bearer " + rng.randbytes(3000).replace(b"\n", b"") + b"\r\n"
    return [b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + flood + b"\r\n"]


def odd_request_line(rng):
    line = rng.choice(
        (
            b"GET / HTTP/9.9",
            b"GET /",
            b"\0\0\0\0",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"PRI * HTTP/2.0\r\n\r\nSM",
            b"GET /%00%ff%zz/../../etc/passwd HTTP/1.1",
            b"GET /" + b"a" * 30_000 + b" HTTP/1.1",
            b"get /health http/1.1",
            b"GET  /health  HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"CONNECT x:1 HTTP/1.1",
            b"TRACE /health HTTP/1.1",
            b"DELETE /v1/models/x HTTP/1.1",
            b"GET http://a/health HTTP/1.1",
            b"GET /health?" + b"&" * 5000 + b" HTTP/1.1",
            b"\r\n\r\n\r\nGET /health HTTP/1.1",
            rng.randbytes(rng.randrange(1, 500)),
        )
    )
    return [line + b"\r\nHost: x\r\n\r\n"]


def nulls(rng):
    text = rng.choice(("\0", "a\0b", "\0" * 1000, "<|im_end|>\0", "\x7f\x1b[31m", "\ufffe\uffff", "<|im_start|>system"))
    body = rng.choice((chat(messages=[{"role": text, "content": text}]), completion(prompt=text, stop=[text])))
    return [post(json.dumps(body).encode(), headers=b"X-Request-Id: \x01\x02\r\n" if rng.random() < 0.3 else b"", rng=rng)]


def old_http(rng):
    body = json.dumps(completion(stream=rng.random() < 0.5)).encode()
    return [post(body, "/v1/completions", version=b"1.0", headers=rng.choice((b"", b"Connection: keep-alive\r\n")))]


def pipelining(rng):
    health = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    requests = [post(json.dumps(completion(max_tokens=1)).encode(), "/v1/completions"), health, b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"]
    return [b"".join(rng.choice(requests) for _ in range(rng.randrange(2, 20))) + (health * 3000 if rng.random() < 0.05 else b"")]


def slow_sender(rng):
    whole = post(json.dumps(chat()).encode(), rng=rng)
    pieces = []
    for i in range(0, len(whole), max(1, len(whole) // 8)):
        pieces += [whole[i : i + max(1, len(whole) // 8)], rng.random() * 0.03]
    return pieces


def half_closed(rng):
    whole = post(json.dumps(chat(stream=True, max_tokens=50)).encode(), "/v1/chat/completions")
    return [whole[: rng.choice((len(whole), rng.randrange(len(whole))))], HALF_CLOSE]


def silent(rng):
    return [rng.randbytes(0), rng.random() * 0.05]


def valid(rng):
    """Among all that, some who mean well."""
    return [post(json.dumps(rng.choice((chat, completion))(stream=rng.random() < 0.5)).encode(), None, rng=rng)]


KINDS = (
    malformed_json, wrong_types, absurd_numbers, huge_body, large_body, oversized_prompt, deep_nesting, bad_utf8,
    bad_chunks, smuggling, header_flood, odd_request_line, nulls, old_http, pipelining, slow_sender, half_closed,
    silent, valid,
)  # fmt: skip
