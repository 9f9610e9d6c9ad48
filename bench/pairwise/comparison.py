"""Turns and ratios: A B C A B C …, so that a ratio compares neighbours in time."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence

from .process import BenchError
from .programs import Job, Program
from .shapes import Shape


@dataclasses.dataclass(frozen=True)
class Spread:
    min: float
    median: float
    max: float

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        return Spread(min(values), statistics.median(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours by theirs, turn by turn."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def best_of_each_turn(peers: Sequence[Sequence[float]], higher_is_better: bool) -> list[float]:
    """What the best peer of each turn reached, which need not be the same one."""
    choose = max if higher_is_better else min
    return [choose(values) for values in zip(*peers, strict=True)]


@dataclasses.dataclass(frozen=True)
class Comparison:
    shape: Shape
    ours: list[float]
    peers: dict[str, list[float]]  # by name, as many as ours

    def ratio_to(self, peer: str) -> Spread:
        return Spread.of(ratios(self.ours, self.peers[peer]))

    def ratio_to_best(self) -> Spread:
        best = best_of_each_turn(list(self.peers.values()), self.shape.higher_is_better)
        return Spread.of(ratios(self.ours, best))

    def best_peer(self) -> str:
        """By the median."""
        choose = max if self.shape.higher_is_better else min
        return choose(self.peers, key=lambda name: statistics.median(self.peers[name]))

    def to_object(self) -> dict:
        shape = self.shape
        result = {
            "bench": shape.kind.value,
            "tokens": shape.tokens,
            "depth": shape.depth,
            "sequences": shape.sequences,
            "unit": shape.unit,
            "higher_is_better": shape.higher_is_better,
            "rounds": len(self.ours),
            "pagoda": dataclasses.asdict(Spread.of(self.ours)),
            "peers": {
                name: {
                    "value": dataclasses.asdict(Spread.of(values)),
                    "ratio": dataclasses.asdict(self.ratio_to(name)),
                }
                for name, values in self.peers.items()
            },
        }
        if self.peers:
            result["best_peer"] = self.best_peer()
            result["ratio_to_best"] = dataclasses.asdict(self.ratio_to_best())
        return result

    def lines(self) -> list[str]:
        """A row for each program; the last but for one peer is the ratio to the best."""
        digits = 2 if self.shape.unit == "s" else 1
        rows = [row(str(self.shape), "pagoda", spread_text(Spread.of(self.ours), digits), "")]
        for name, values in self.peers.items():
            value = spread_text(Spread.of(values), digits)
            rows.append(row("", name, value, spread_text(self.ratio_to(name), 2)))
        if len(self.peers) > 1:
            rows.append(row("", "best of each turn", "", spread_text(self.ratio_to_best(), 2)))
        return rows


def spread_text(spread: Spread, digits: int) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in (spread.min, spread.median, spread.max))


def row(shape: str, program: str, value: str, ratio: str) -> str:
    return f"{shape:<22}{program:<20}{value:>28}{ratio:>26}".rstrip()


HEADING = row("min / median / max", "program", "tokens/s, s or MiB", "pagoda / peer")


def compare(
    job: Job,
    shape: Shape,
    pagoda: Program,
    peers: Sequence[Program],
    rounds: int,
    say: Callable[[str], None],
) -> Comparison:
    """`rounds` turns of Pagoda and each peer. A peer that fails or cannot is left out, and that is said; Pagoda's
    failure is a BenchError."""
    ours: list[float] = []
    values: dict[str, list[float]] = {}
    active = list(peers)
    for turn in range(rounds):
        own = pagoda.measure(job, shape)
        if own is None:
            raise BenchError(f"{pagoda.name} cannot measure {shape}")
        ours.append(own)
        for peer in list(active):
            try:
                value = peer.measure(job, shape)
                reason = "has no such measurement"
            except BenchError as error:
                value, reason = None, str(error)
            if value is None:
                say(f"{shape}: without {peer.name}: {reason}")
                active.remove(peer)
                values.pop(peer.name, None)
            else:
                values.setdefault(peer.name, []).append(value)
        parts = [f"pagoda {ours[-1]:.2f}"] + [f"{name} {series[-1]:.2f}" for name, series in values.items()]
        say(f"{shape}, round {turn + 1}: {', '.join(parts)} {shape.unit}")
    return Comparison(shape, ours, values)
