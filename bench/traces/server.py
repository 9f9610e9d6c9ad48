"""A server for the time of a measurement."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


class ServerError(Exception):
    """It did not start; the message holds its last words."""


class Server:
    """Runs a command until the end of the `with` block. It serves HTTP on 127.0.0.1:`port`."""

    def __init__(self, command: list[str], port: int, ready_path: str, start_timeout: float = 900.0):
        self.command, self.port, self.ready_path, self.start_timeout = command, port, ready_path, start_timeout
        self.start_seconds = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Server:
        self.log = tempfile.TemporaryFile("w+")
        begin = time.monotonic()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > begin + self.start_timeout:
                self.stop()
                raise ServerError(f"'{' '.join(self.command)}' did not get ready: {self.last_words()}")
            time.sleep(0.05)
        self.start_seconds = time.monotonic() - begin
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self.ready_path, timeout=5) as reply:
                return reply.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def last_words(self) -> str:
        self.log.seek(0)
        return " / ".join(self.log.read().strip().splitlines()[-3:])

    def kill(self) -> None:
        """As a crash: nothing is written any more."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
