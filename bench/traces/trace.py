"""A trace as JSON lines: a header, then one request a line in order of arrival.

    {"trace": "sharegpt-like", "generator": 1, "seed": 1, ...}
    {"arrival": 0.93, "prompt_tokens": 161, "output_tokens": 338, "prefix": [["task3", 900]], "key": "k0", "class": "short"}

A prompt begins with its prefix: the first n tokens of each group named, one after the other. Requests whose prefixes
agree have the same tokens there; the rest of a prompt is its own. Token ids are made from group and position by whoever
replays the trace, so that a trace says nothing about a vocabulary.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import TextIO

GENERATOR = 1  # raised with every change that gives other traces for the same arguments


@dataclasses.dataclass
class Request:
    arrival: float
    prompt_tokens: int
    output_tokens: int
    prefix: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    key: str = ""
    kind: str = ""  # "class" in the file: what reports tell apart

    def prefix_tokens(self) -> int:
        return sum(tokens for _, tokens in self.prefix)

    def to_object(self) -> dict:
        members = {"arrival": round(self.arrival, 6), "prompt_tokens": self.prompt_tokens, "output_tokens": self.output_tokens}
        if self.prefix:
            members["prefix"] = [list(segment) for segment in self.prefix]
        if self.key:
            members["key"] = self.key
        return members | {"class": self.kind}


def classify(requests: list[Request]) -> None:
    """Short: the half with the fewest tokens; long: the tenth with the most; medium: between."""
    totals = sorted(r.prompt_tokens + r.output_tokens for r in requests)
    half, most = totals[(len(totals) - 1) // 2], totals[(len(totals) - 1) * 9 // 10]
    for request in requests:
        total = request.prompt_tokens + request.output_tokens
        request.kind = request.kind or ("short" if total <= half else "medium" if total <= most else "long")


def write(requests: Iterable[Request], header: dict, out: TextIO) -> None:
    for members in (header, *(request.to_object() for request in requests)):
        out.write(json.dumps(members) + "\n")


def read(lines: Iterable[str]) -> tuple[dict, list[Request]]:
    objects = [json.loads(line) for line in lines if line.strip()]
    requests = [
        Request(o["arrival"], o["prompt_tokens"], o["output_tokens"], [tuple(s) for s in o.get("prefix", [])], o.get("key", ""), o["class"])
        for o in objects[1:]
    ]
    return objects[0], requests


def shared_prefix(a: Request, b: Request) -> int:
    """Tokens that the prompts have in common at their beginning."""
    common = 0
    for (group, tokens), (other_group, other_tokens) in zip(a.prefix, b.prefix):
        if group != other_group:
            break
        common += min(tokens, other_tokens)
        if tokens != other_tokens:
            break
    return common


def most_cached_tokens(requests: list[Request]) -> int:
    """Prompt tokens that need not be computed if every edge of the tree of prompts is computed once.

    That is what visiting the tree depth first gives (Zheng et al., SGLang, 2024, theorem 3.1), and no order gives more.
    A prompt that stands wholly in the tree still computes its last token.
    """
    ordered = sorted(requests, key=lambda request: request.prefix)
    return sum(min(shared_prefix(a, b), b.prompt_tokens - 1) for a, b in zip(ordered, ordered[1:]))
