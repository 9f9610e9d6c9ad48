"""The figures that policies are compared by, and their plots: the same of simulations and of servers."""

from __future__ import annotations

import json
import math
import pathlib

from . import svg

FIGURES = {
    "jct mean": ("all", "jct", "mean"),
    "jct p95": ("all", "jct", "p95"),
    "jct p99": ("all", "jct", "p99"),
    "jct mean short": ("classes", "short", "jct", "mean"),
    "ttft mean": ("all", "ttft", "mean"),
    "tpot mean": ("all", "tpot", "mean"),
    "jct/token": ("all", "normalised_jct", "mean"),
    "largest gap p95": ("all", "largest_gap", "p95"),
    "slowdown": ("all", "slowdown", "mean"),
    "slowdown max": ("all", "slowdown", "max"),
    "queueing short": ("classes", "short", "queue_share"),
    "forecast off p50": ("all", "forecast_error", "p50"),
    "forecast off p90": ("all", "forecast_error", "p90"),
    "forecast relative p50": ("all", "forecast_relative_error", "p50"),
    "forecast relative p90": ("all", "forecast_relative_error", "p90"),
    "tokens/s": ("output_tokens_per_second",),
    "failed": ("failed",),
}
HEADING = ("trace", "load", "policy", *FIGURES)


def figures_of(report: dict) -> dict[str, float]:
    """One number a figure; not a number where a server does not tell."""
    report = report | {"failed": report["all"]["requests"] - report["all"]["completed"]}

    def at(path: tuple[str, ...]) -> float:
        value = report
        for member in path:
            value = value.get(member) if isinstance(value, dict) else None
        return math.nan if value is None else float(value)

    return {name: at(path) for name, path in FIGURES.items()}


def read_lines(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def plot(folder: pathlib.Path, name: str, requests: dict[str, list[dict]], reports: dict[str, dict]) -> None:
    """Requests as `--requests-out` writes them and reports, both by policy."""
    folder.mkdir(parents=True, exist_ok=True)
    done = {policy: [r for r in rows if "error" not in r] for policy, rows in requests.items()}
    slowdown = {policy: [r["jct"] / r["isolated"] for r in rows] for policy, rows in done.items()}
    waiting = {
        kind: {p: reports[p]["classes"][kind]["queue_share"] for p in reports if reports[p]["classes"][kind]["queue_share"] is not None}
        for kind in next(iter(reports.values()))["classes"]
    }
    plots = {
        "jct": svg.distribution(f"{name}: completion time", "seconds", {p: [r["jct"] for r in rows] for p, rows in done.items()}),
        "ttft": svg.distribution(f"{name}: first token", "seconds", {p: [r["ttft"] for r in rows] for p, rows in done.items()}),
        "slowdown": svg.distribution(f"{name}: slowdown", "times the time alone", slowdown),
        "queueing": svg.bars(f"{name}: share of waiting", waiting),
    }
    for figure, text in plots.items():
        (folder / f"{name}-{figure}.svg").write_text(text)
