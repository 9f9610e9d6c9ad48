#!/usr/bin/env python3
"""Checks that objects compiled with instruction-set flags export nothing that the linker could merge.

A weak symbol (an inline function or a template used by several sources) is kept once per program. If the kept copy was
compiled for AVX-512, it runs, and fails, on machines without it. So sources under src/kernels/isa must give only
symbols of their own.

usage: check_isa_symbols.py FOLDER    checks every object under FOLDER that lies in a folder named "isa"
"""

import pathlib
import subprocess
import sys

# W, V: weak function or object; u: unique global, the same thing for static data. A lower-case w or v is a weak
# reference, which exports nothing.
SHARED_KINDS = {"W", "V", "u"}
# What sanitizers and exception tables add; none of it is code.
ALLOWED_PREFIXES = ("DW.ref.", "asan.", "tsan.", "__asan", "__tsan", "__ubsan", "__odr_asan")


def shared_symbols(path):
    listing = subprocess.run(["nm", "--demangle", "--defined-only", str(path)], check=True, capture_output=True, text=True)
    for line in listing.stdout.splitlines():
        _, kind, name = line.split(maxsplit=2)
        if kind in SHARED_KINDS and not name.startswith(ALLOWED_PREFIXES):
            yield kind, name


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    objects = sorted(p for p in pathlib.Path(sys.argv[1]).rglob("*.o") if p.parent.name == "isa")
    if not objects:
        sys.exit(f"no objects in a folder named isa under {sys.argv[1]}")
    found = [(path, *symbol) for path in objects for symbol in shared_symbols(path)]
    for path, kind, name in found:
        print(f"{path.name}: {kind} {name}")
    print(f"{len(objects)} objects, {len(found)} symbols that the linker could merge")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
