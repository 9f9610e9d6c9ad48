"""The programs that are compared, each behind `measure`."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from .process import BenchError, run
from .shapes import Kind, Shape


@dataclasses.dataclass(frozen=True)
class Job:
    """What all programs are given."""

    model: str
    threads: int
    repeat: int  # runs within a turn; the median counts


class Program(Protocol):
    name: str

    def measure(self, job: Job, shape: Shape) -> float | None:
        """In the shape's unit; None if the program cannot do it. BenchError if it fails."""


@dataclasses.dataclass(frozen=True)
class Pagoda:
    path: str
    args: Sequence[str] = ()
    name: str = "pagoda"

    def measure(self, job: Job, shape: Shape) -> float | None:
        common = ["--model", job.model, "--threads", str(job.threads), *self.args]
        if shape.kind is Kind.START:
            command = [self.path, "run", "x", "--max-tokens", "1", "--temperature", "0", *common]
            return statistics.median(run(command).seconds for _ in range(job.repeat))
        if shape.kind is Kind.MEMORY:
            command = [self.path, "bench", "load", "--cache", "warm", "--repeat", "1", "--json", *common]
            command += ["--context", str(shape.depth), "--max-context", str(shape.depth)]
            return json.loads(run(command).output)["peak_resident_bytes"] / 2**20
        command = [self.path, "bench", shape.kind.value, *common, "--tokens", str(shape.tokens)]
        command += ["--depth", str(shape.depth), "--repeat", str(job.repeat), "--json"]
        if shape.kind is Kind.BATCH:
            command += ["--sequences", str(shape.sequences)]
        return json.loads(run(command).output)["tokens_per_second"]["median"]


# malloc then asks for 2 MiB pages, which is worth a quarter of decode speed where weights lie in the heap.
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@dataclasses.dataclass(frozen=True)
class LlamaBench:
    """llama.cpp or a fork of it: `llama-bench`, and `llama-batched-bench` beside it.

    `args` and `environment` are for speed; None stands for the fastest that we know for this program. Start and
    memory are measured as the program comes, with a mapped file: options for speed cost both.
    """

    name: str
    path: str
    args: Sequence[str] | None = None
    environment: Mapping[str, str] | None = None

    @functools.cached_property
    def _help(self) -> str:
        try:
            result = subprocess.run([self.path, "--help"], capture_output=True, text=True, check=False)
        except OSError as error:
            raise BenchError(f"{self.path}: {error.strerror}") from error
        return result.stdout + result.stderr

    @property
    def repacks_on_request(self) -> bool:
        """ik_llama.cpp; llama.cpp repacks by itself."""
        return "--run-time-repack" in self._help

    def speed_args(self, kind: Kind) -> list[Sequence[str]]:
        """Sets of options of which the fastest counts."""
        if self.args is not None:
            return [self.args]
        if not self.repacks_on_request:
            return [["-lm", "none", "-fa", "on"]]
        repacked = ["-rtr", "1", "-mmp", "0", "-fa", "1"]
        # Repacked weights serve prompts well on some processors; on Zen 5 others are 1.2 to 1.5 times as fast.
        return [repacked, ["-fa", "1"]] if kind is Kind.PREFILL else [repacked]

    def speed_environment(self) -> Mapping[str, str]:
        return HUGE_PAGES if self.environment is None and self.args is None else self.environment or {}

    def depth_args(self, shape: Shape) -> list[str] | None:
        prompt, generated = (shape.tokens, 0) if shape.kind is Kind.PREFILL else (0, shape.tokens)
        if shape.depth == 0:
            return ["-p", str(prompt), "-n", str(generated)]
        if "--n-depth" in self._help:
            return ["-p", str(prompt), "-n", str(generated), "-d", str(shape.depth)]
        if shape.kind is Kind.DECODE:  # "generate after a prompt"
            return ["-p", "0", "-n", "0", "-gp", f"{shape.depth},{generated}"]
        return None

    def measure(self, job: Job, shape: Shape) -> float | None:
        threads = ["-m", job.model, "-t", str(job.threads)]
        if shape.kind is Kind.START:
            no_warmup = ["-w", "0"] if "--warmup" in self._help else ["--no-warmup"]
            command = [self.path, *threads, "-p", "0", "-n", "1", "-r", "1", *no_warmup]
            return statistics.median(run(command).seconds for _ in range(job.repeat))
        if shape.kind is Kind.MEMORY:
            return run(self.batched(threads, shape.depth, 128, 1, 1)).peak_mib
        if shape.kind is Kind.BATCH:
            context = (shape.depth + shape.tokens) * shape.sequences
            command = self.batched(threads, context, shape.depth, shape.tokens, shape.sequences)
            command += batched_args(self.speed_args(shape.kind)[0])
            results = [run(command, self.speed_environment()) for _ in range(job.repeat)]
            # One prints its table here, the other there.
            return statistics.median(batched_speed(result.output + result.errors) for result in results)
        depth_args = self.depth_args(shape)
        if depth_args is None:
            return None
        command = [self.path, *threads, *depth_args, "-r", str(job.repeat), "-o", "json"]
        return max(
            bench_speed(run([*command, *args], self.speed_environment()).output) for args in self.speed_args(shape.kind)
        )

    def batched(self, threads: Sequence[str], context: int, prompt: int, generated: int, sequences: int) -> list[str]:
        path = pathlib.Path(self.path).with_name("llama-batched-bench")
        command = [str(path), *threads, "-c", str(context), "-npp", str(prompt), "-ntg", str(generated)]
        return [*command, "-npl", str(sequences)]


def batched_args(args: Sequence[str]) -> list[str]:
    """llama-bench's options as llama-batched-bench spells them: switches have no value there."""
    words: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word in ("-rtr", "-mmp"):
            value = rest.pop(0) if rest else "1"
            if word == "-rtr" and value == "1":
                words.append("-rtr")
            if word == "-mmp" and value == "0":
                words.append("--no-mmap")
        elif word == "-fa":
            value = rest.pop(0) if rest else "1"
            words += ["-fa", {"1": "on", "0": "off"}.get(value, value)]
        else:
            words.append(word)
    return words


def bench_speed(output: str) -> float:
    """The median tokens/s of llama-bench's JSON, which other lines may come before."""
    begin = output.find("[\n")
    if begin < 0:
        raise BenchError("llama-bench printed no JSON")
    return statistics.median(json.loads(output[begin:])[0]["samples_ts"])


def batched_speed(output: str) -> float:
    """Generated tokens/s of all sequences, of the only row of llama-batched-bench's table."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in output.splitlines() if "|" in line]
    for head, _, row in zip(rows, rows[1:], rows[2:]):
        if "S_TG t/s" in head:
            return float(row[head.index("S_TG t/s")])
    raise BenchError("llama-batched-bench printed no table")


@dataclasses.dataclass(frozen=True)
class PythonPeer:
    """A library in a virtual environment, driven by a script of this folder whose last line is a JSON object."""

    python: str
    name: str
    script: str
    model: str | None = None  # that it reads in place of the others' file

    def measure(self, job: Job, shape: Shape) -> float | None:
        script = pathlib.Path(__file__).with_name(self.script)
        command = [self.python, str(script), self.model or job.model]
        command += ["--threads", str(job.threads), "--repeat", str(job.repeat)]
        if shape.kind is Kind.START:
            command += ["--prompt", "1", "--generate", "1", "--repeat", "0"]
            return statistics.median(run(command).seconds for _ in range(job.repeat))
        if shape.kind is Kind.MEMORY:
            return run([*command, "--prompt", str(shape.depth - 1), "--generate", "1", "--repeat", "0"]).peak_mib
        if shape.kind is Kind.PREFILL:
            if shape.depth > 0:
                return None
            command += ["--prompt", str(shape.tokens), "--generate", "1"]
            return json.loads(run(command).output.splitlines()[-1])["prefill"]
        command += ["--prompt", str(max(shape.depth, 1)), "--generate", str(shape.tokens)]
        command += ["--sequences", str(shape.sequences)]
        return json.loads(run(command).output.splitlines()[-1])["decode"]


def openvino(python: str) -> PythonPeer:
    return PythonPeer(python, "openvino", "openvino_peer.py")


def vllm(python: str, model: str) -> PythonPeer:
    """It reads no quantised GGUF on CPUs: `model` is a folder with safetensors of the same model."""
    return PythonPeer(python, "vllm", "vllm_peer.py", model)
