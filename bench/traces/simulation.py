"""Runs `pagoda simulate` on traces of this package."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import tempfile

from .kinds import KINDS, Knobs
from .trace import GENERATOR, Request, classify, write


class SimulationError(Exception):
    """Pagoda refused; the message is its own."""


@dataclasses.dataclass(frozen=True)
class Simulator:
    pagoda: str
    cost_model: str
    options: tuple[str, ...] = ()  # further ones of `pagoda simulate`

    def run(self, kind: str, knobs: Knobs, *options: str, requests_out: str = "") -> tuple[list[Request], dict]:
        """The trace, and the report on it."""
        requests = KINDS[kind](knobs)
        classify(requests)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "trace.jsonl"
            with path.open("w") as out:
                write(requests, {"trace": kind, "generator": GENERATOR} | dataclasses.asdict(knobs), out)
            command = [self.pagoda, "simulate", "--trace", str(path), "--cost-model", self.cost_model, "--json"]
            if requests_out:
                command += ["--requests-out", requests_out]
            done = subprocess.run([*command, *self.options, *options], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SimulationError(done.stderr.strip() or f"'{' '.join(command)}' ended with {done.returncode}")
        return requests, json.loads(done.stdout)

    def capacity(self, kind: str, knobs: Knobs) -> float:
        """Requests a second when all of them are there from the start, first come, first served."""
        _, report = self.run(kind, dataclasses.replace(knobs, rate=1e6), "--policy", "fcfs")
        return report["all"]["completed"] / report["seconds"]
