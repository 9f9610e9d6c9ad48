"""The kinds of traces. Each takes Knobs and gives requests in order of arrival."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator

from .arrivals import arrivals
from .lengths import AZURE_CODE_LIKE, AZURE_CONV_LIKE, SHAREGPT_LIKE, Lengths
from .trace import Request


@dataclasses.dataclass(frozen=True)
class Knobs:
    requests: int
    rate: float  # requests a second, on average
    cv: float = 1.0
    seed: int = 1
    keys: int = 1  # clients, by Zipf's law
    max_prompt: int = 1 << 30
    max_output: int = 1 << 30

    def rng(self, stream: str) -> random.Random:
        """Streams are independent: another rate gives the same lengths, another number of requests the same begin."""
        return random.Random(f"{self.seed}/{stream}")

    def times(self, minute_cv: float = 0.0, rate: float | None = None) -> Iterator[float]:
        return arrivals(self.rng("arrivals"), rate or self.rate, self.cv, minute_cv)


def zipf(rng: random.Random, count: int) -> int:
    """0 … count - 1; the k-th has weight 1 / (k + 1)."""
    return rng.choices(range(count), weights=[1 / (k + 1) for k in range(count)])[0]


def by_quantiles(lengths: Lengths) -> Callable[[Knobs], list[Request]]:
    def make(knobs: Knobs) -> list[Request]:
        rng, keys = knobs.rng("lengths"), knobs.rng("keys")
        requests = []
        for arrival in itertools.islice(knobs.times(lengths.minute_cv), knobs.requests):
            prompt, output = lengths.prompt.draw(rng), lengths.output.draw(rng)
            requests.append(
                Request(arrival, min(prompt, knobs.max_prompt), min(output, knobs.max_output), key=f"k{zipf(keys, knobs.keys)}")
            )
        return requests

    return make


def few_shot(knobs: Knobs) -> list[Request]:
    """An instruction for all, examples of 16 tasks by Zipf's law, a question, a short answer."""
    rng, shots = knobs.rng("lengths"), knobs.rng("shots")
    examples = [shots.randint(600, 1600) for _ in range(16)]
    requests = []
    for arrival in itertools.islice(knobs.times(), knobs.requests):
        task = zipf(rng, len(examples))
        prefix = [("instruction", 80), (f"task{task}", examples[task])]
        question = rng.randint(30, 120)
        requests.append(Request(arrival, 80 + examples[task] + question, rng.randint(1, 16), prefix, key=f"task{task}"))
    return requests


def multi_turn(knobs: Knobs) -> list[Request]:
    """Chats of 1 … 8 turns: each prompt holds all messages and answers before it. The next turn comes after a while."""
    rng = knobs.rng("lengths")
    requests: list[Request] = []
    for chat, start in enumerate(knobs.times(rate=knobs.rate / 3.5)):
        if len(requests) >= 2 * knobs.requests:
            break
        history = [(f"system{zipf(rng, 4)}", 200)]
        arrival = start
        for turn in range(min(8, 1 + int(rng.expovariate(1 / 3)))):
            history.append((f"chat{chat}.user{turn}", min(SHAREGPT_LIKE.prompt.draw(rng), 1000)))
            output = min(SHAREGPT_LIKE.output.draw(rng), knobs.max_output)
            prompt = sum(tokens for _, tokens in history)
            if prompt > knobs.max_prompt:
                break
            requests.append(Request(arrival, prompt, output, list(history), key=f"chat{chat}"))
            history.append((f"chat{chat}.answer{turn}", output))
            arrival += rng.lognormvariate(3.4, 0.6)  # half a minute to read, think and write
    return sorted(requests, key=lambda request: request.arrival)[: knobs.requests]


def agent(knobs: Knobs) -> list[Request]:
    """Programs that call tools: 3 … 12 steps over a growing history; some steps try two ways from the same history."""
    rng = knobs.rng("lengths")
    requests: list[Request] = []
    for run, start in enumerate(knobs.times(rate=knobs.rate / 9)):
        if len(requests) >= 2 * knobs.requests:
            break
        history = [(f"tools{zipf(rng, 3)}", 1500), (f"run{run}.goal", rng.randint(40, 300))]
        arrival = start
        for step in range(rng.randint(3, 12)):
            prompt = sum(tokens for _, tokens in history)
            if prompt > knobs.max_prompt:
                break
            output = min(rng.randint(20, 120), knobs.max_output)
            for way in range(2 if rng.random() < 0.2 else 1):
                hint = [(f"run{run}.hint{step}.{way}", 20)] if way else []
                requests.append(Request(arrival, prompt + 20 * way, output, history + hint, key=f"run{run}"))
            history.append((f"run{run}.call{step}", output))
            history.append((f"run{run}.result{step}", rng.randint(50, 400)))
            arrival += rng.lognormvariate(1.6, 0.5)  # five seconds for the tool
    return sorted(requests, key=lambda request: request.arrival)[: knobs.requests]


def shared_prefix(knobs: Knobs) -> list[Request]:
    """One system prompt of 1,500 tokens, questions of 50, answers of 64."""
    return [
        Request(arrival, 1550, 64, [("system", 1500)], key="k0", kind="question")
        for arrival in itertools.islice(knobs.times(), knobs.requests)
    ]


def mixed(knobs: Knobs) -> list[Request]:
    """A quarter long (2,000 tokens, 256 out), the others short (30 tokens, 16 out)."""
    rng = knobs.rng("lengths")
    requests = []
    for arrival in itertools.islice(knobs.times(), knobs.requests):
        is_long = rng.random() < 0.25
        requests.append(
            Request(arrival, 2000, 256, key="long", kind="long") if is_long else Request(arrival, 30, 16, key="short", kind="short")
        )
    return requests


def adversarial(knobs: Knobs) -> list[Request]:
    """Short requests without end, and one long request that comes after the first twentieth of them."""
    requests = [
        Request(arrival, 30, 16, key="short", kind="short") for arrival in itertools.islice(knobs.times(), knobs.requests - 1)
    ]
    at = len(requests) // 20
    requests.insert(at, Request(requests[at].arrival if requests else 0.0, 2000, 256, key="long", kind="long"))
    return requests


def giant(knobs: Knobs) -> list[Request]:
    """Streams that run, and one prompt of 30,000 tokens (or what the context allows) that comes when they have begun."""
    arrivals_of = itertools.islice(knobs.times(), max(knobs.requests - 1, 1))
    streams = [Request(arrival, 30, min(1000, knobs.max_output), key="stream", kind="stream") for arrival in arrivals_of]
    return [*streams, Request(streams[-1].arrival + 2.0, min(30000, knobs.max_prompt), 1, key="giant", kind="giant")]


KINDS: dict[str, Callable[[Knobs], list[Request]]] = {
    "sharegpt-like": by_quantiles(SHAREGPT_LIKE),
    "azure-conv-like": by_quantiles(AZURE_CONV_LIKE),
    "azure-code-like": by_quantiles(AZURE_CODE_LIKE),
    "few-shot": few_shot,
    "multi-turn": multi_turn,
    "agent": agent,
    "shared-prefix": shared_prefix,
    "mixed": mixed,
    "adversarial": adversarial,
    "giant": giant,
}
