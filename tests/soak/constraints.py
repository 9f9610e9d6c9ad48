#!/usr/bin/env python3
"""Hostile constraints against a running server, one after the other: how long each takes to be refused.

    constraints.py http://127.0.0.1:8000 [--repeat 3] [--limit-ms 100]

Fails where one that must be refused is not, a server error comes, or an answer takes longer than the limit: the
shortest of the repetitions counts, since a busy machine adds to all of them. What compiles generates one token.
"""

import argparse
import http.client
import json
import sys
import time

from soak import Server


def numbered(count, item, separator=","):
    return separator.join(item(i) for i in range(count))


def definitions(count, item, last):
    inner = numbered(count, lambda i: f'"d{i}":{item(i)}')
    return f'{{"$ref":"#/$defs/d0","$defs":{{{inner},"d{count}":{last}}}}}'


def any_of(width):
    return '{"anyOf":[%s]}' % numbered(width, lambda i: f'{{"type":"object","properties":{{"a{i}":{{"type":"integer"}}}}}}')


def all_of(*parts):
    return '{"allOf":[%s]}' % ",".join(parts)


ITEMS = '{"items":'
# Name -> (kind, text); all of these are refused.
REFUSED = {
    "a megabyte": ("json", " " * (1 << 20) + "{}"),
    "opening brackets": ("json", "[" * 100_000),
    "nested too deeply": ("json", ITEMS * 5000 + "{}" + "}" * 5000),
    "a deep constant": ("json", '{"const":' + "[" * 100 + "]" * 100 + "}"),
    "20,000 words": ("json", '{"enum":[%s]}' % numbered(20_000, lambda i: f'"word{i * 7919 % 100_003}"')),
    "10^12 alternatives": ("json", all_of(*[any_of(10)] * 12)),
    "300 x 300 alternatives": ("json", all_of(any_of(300), any_of(300))),
    "types in a product": ("json", all_of(*['{"type":["integer","null","string"]}'] * 40)),
    "2^60 references": (
        "json",
        definitions(
            60,
            lambda i: '{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}' % (i + 1, i + 1),
            '{"anyOf":[{"type":"null"},{"type":"integer"}]}',
        ),
    ),
    "a circle": ("json", '{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}'),
    "60 patterns of names": (
        "json",
        '{"type":"object","patternProperties":{%s}}' % numbered(60, lambda i: f'"^a{i}[a-z]*$":{{}}'),
    ),
    "40 patterns for one string": (
        "json",
        all_of(*['{"type":"string","pattern":"a[ab]{%d}b"}' % i for i in range(40)]),
    ),
    "a long expression": ("regex", "[ab]" * 20_000),
    "a nested expression": ("regex", "(" * 1000 + "a" + ")" * 1000),
    "a repetition beyond numbers": ("regex", "a{99999999999}"),
    "a back-reference": ("regex", r"(a)\1"),
    "5,000 choices": ("choice", [f"word{i * 7919 % 100_003}" for i in range(5000)]),
    "parentheses of Lark": ("grammar", "start: " + "(" * 60_000),
    "parentheses of GBNF": ("grammar", "root ::= " + "(" * 60_000),
    "not": ("grammar", 'start: %json {"not":{}}\n'),
}
# These may compile.
HEAVY = {
    "a^(10^9)": ("regex", "((a{1000}){1000}){1000}"),
    "2^40 references": (
        "json",
        definitions(
            40,
            lambda i: '{"properties":{"a":{"$ref":"#/$defs/d%d"},"b":{"$ref":"#/$defs/d%d"}}}' % (i + 1, i + 1),
            '{"type":"null"}',
        ),
    ),
    "a chain of 5,000": ("json", definitions(5000, lambda i: '{"$ref":"#/$defs/d%d"}' % (i + 1), '{"type":"null"}')),
    "3,000 properties": (
        "json",
        '{"type":"object","properties":{%s}}' % numbered(3000, lambda i: f'"property{i}":{{"type":"integer"}}'),
    ),
    "a billion items": ("json", '{"type":"array","minItems":1000000000}'),
    "a million characters": ("json", '{"type":"string","minLength":1000000,"maxLength":2000000}'),
    "classes, cubed": ("json", r'{"type":"string","pattern":"((\\p{L}{50}){50}){50}"}'),
    "exponential states": ("regex", "(a|b)*a(a|b){2000}"),
    "products of repetitions": ("regex", "(.*a.*b)" * 500),
    "20 terminals, doubled": ("grammar", "start: T0\n" + numbered(20, lambda i: f"T{i}: T{i + 1} T{i + 1}", "\n") + '\nT20: "x"\n'),
    "ambiguity": ("grammar", "start: many\nmany: many many | many many many | /[a-z]/\n"),
    "intersections": ("grammar", "start: T\nT: /(?s:.*)/ & ~/(?s:.*)(a|b){300}c(?s:.*)/ & ~/(?s:.*)(b|c){200}d(?s:.*)/\n"),
}


def ask(server, kind, text):
    """Status, and milliseconds until the whole answer is there."""
    # A schema travels as text, so that it is the schema's parser that meets it.
    body = json.dumps({"prompt": "a", "max_tokens": 1, "structured_outputs": {kind: text}})
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    begin = time.perf_counter()
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    elapsed = (time.perf_counter() - begin) * 1e3
    connection.close()
    return response.status, elapsed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--limit-ms", type=float, default=100)
    arguments = parser.parse_args()
    server = Server(arguments.url)
    ask(server, "choice", ["a"])  # the tables of the vocabulary are there
    times, problems = {}, []
    for name, (kind, text) in (REFUSED | HEAVY).items():
        answers = [ask(server, kind, text) for _ in range(arguments.repeat)]
        status, times[name] = answers[0][0], round(min(elapsed for _, elapsed in answers), 1)
        if status != 400 and (name in REFUSED or status != 200):
            problems.append(f"{name}: status {status}")
        if times[name] > arguments.limit_ms:
            problems.append(f"{name}: {times[name]} ms")
    slowest = dict(sorted(times.items(), key=lambda item: -item[1])[:5])
    print(json.dumps({"constraints": len(times), "slowest_ms": slowest}, indent=1))
    for problem in problems:
        print("FAILED:", problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
