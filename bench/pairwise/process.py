"""One run of a program: its output, time and memory."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence


class BenchError(Exception):
    """A sentence for the user."""


@dataclasses.dataclass(frozen=True)
class Run:
    output: str
    errors: str  # what it wrote to standard error
    seconds: float  # from its start to its end
    peak_mib: float  # resident, of the program itself


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """Waits for the program's end. BenchError, with its last words, unless it ends with 0."""
    with (
        tempfile.TemporaryDirectory() as folder,  # some programs leave logs where they run
        tempfile.TemporaryFile("w+") as output,
        tempfile.TemporaryFile("w+") as errors,
    ):
        begin = time.monotonic()
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=folder,
                env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            raise BenchError(f"{command[0]}: {error.strerror}") from error
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
        errors.seek(0)
        error_text = errors.read()
        if child.returncode != 0:
            last_words = (error_text.strip() or text.strip()).splitlines()[-3:]
            raise BenchError(f"'{' '.join(command)}' ended with {child.returncode}: " + " / ".join(last_words))
    return Run(text, error_text, seconds, usage.ru_maxrss / 1024)
