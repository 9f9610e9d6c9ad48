"""Which peers there are: those that install.py has built, and those that an environment variable names."""

from __future__ import annotations

import pathlib
import re
import shlex
from collections.abc import Mapping

from .install import installed_llama_bench, installed_openvino
from .process import BenchError
from .programs import LlamaBench, Program, PythonPeer, openvino, vllm

VARIABLE = "PAGODA_PEER_LLAMA_BENCH"
VLLM_VARIABLE = "PAGODA_PEER_VLLM"


def parse_peers(text: str) -> list[LlamaBench]:
    """Peers between semicolons or line ends, each [NAME=]PATH [VARIABLE=VALUE …] [OPTION …].

    PATH is a llama-bench or the folder that holds it. Without options and variables a peer runs with the fastest
    that are known for it (programs.LlamaBench).
    """
    peers = []
    for entry in re.split(r"[;\n]", text):
        words = shlex.split(entry)
        if not words:
            continue
        name, _, path = words[0].rpartition("=")
        file = pathlib.Path(path).expanduser()
        if file.is_dir():
            file /= "llama-bench"
        environment = dict(word.split("=", 1) for word in words[1:] if re.match(r"[A-Z_]+=", word))
        args = [word for word in words[1:] if not re.match(r"[A-Z_]+=", word)]
        peers.append(
            LlamaBench(
                name or "llama.cpp",
                str(file),
                args if len(words) > 1 else None,
                environment if len(words) > 1 else None,
            )
        )
    names = [peer.name for peer in peers]
    for name in names:
        if names.count(name) > 1:
            raise BenchError(f"{VARIABLE} names '{name}' twice")
    return peers


def parse_vllm(text: str) -> PythonPeer | None:
    """PYTHON FOLDER: the interpreter of vLLM's environment, and the model as it reads it."""
    words = shlex.split(text)
    if not words:
        return None
    if len(words) != 2:
        raise BenchError(f"{VLLM_VARIABLE} wants two words, the Python of vLLM's environment and a model's folder")
    python, folder = (pathlib.Path(word).expanduser() for word in words)
    if not (folder / "config.json").exists():
        raise BenchError(f"{VLLM_VARIABLE}: {folder} holds no config.json")
    return vllm(str(python.absolute()), str(folder.absolute()))  # a link to the interpreter says which environment


def find_peers(environment: Mapping[str, str]) -> list[Program]:
    """A peer of the variable replaces an installed one of the same name."""
    named = parse_peers(environment.get(VARIABLE, ""))
    peers: list[Program] = list(named)
    llama_bench = installed_llama_bench(environment)
    if llama_bench is not None and all(peer.name != "llama.cpp" for peer in named):
        peers.append(LlamaBench("llama.cpp", str(llama_bench)))
    python = installed_openvino(environment)
    if python is not None:
        peers.append(openvino(str(python)))
    peer = parse_vllm(environment.get(VLLM_VARIABLE, ""))
    if peer is not None:
        peers.append(peer)
    return peers
