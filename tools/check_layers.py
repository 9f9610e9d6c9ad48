#!/usr/bin/env python3
"""Checks every #include of src/ against the layer table of docs/architecture.md: includes only point up the table.

usage: check_layers.py [--self-test] [FOLDER]     FOLDER is src/ unless given
"""

import pathlib
import re
import sys
import tempfile

# folder: what it may include besides itself. An entry with a slash is one header.
TABLE = {
    "base": (),
    "tensor": ("base",),
    "kernels": ("base", "tensor"),
    "io": ("base", "tensor"),
    "text": ("base",),
    "image": ("base", "tensor"),
    "weights": ("base", "tensor", "kernels", "io"),
    # The layout of a page is a contract between the pool, which owns the bytes, and the kernels, which read them.
    "kv": ("base", "tensor", "io", "kernels/kv_page.h"),
    "sample": ("base", "tensor", "kernels"),
    "sched": ("base",),
    "nn": ("base", "tensor", "kernels", "weights", "kv"),
    "model": ("base", "tensor", "kernels", "io", "text", "image", "weights", "kv", "nn"),
    "spec": ("base", "tensor", "kernels", "io", "text", "weights", "kv", "sample", "nn", "model"),
    "engine": ("base", "tensor", "kernels", "io", "text", "image", "weights", "kv", "sample", "sched", "nn", "model",
               "spec"),
    "server": ("base", "text", "image", "engine"),
}
TABLE["cli"] = tuple(TABLE)

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
SOURCES = {".h", ".cpp", ".inc"}


def layer_errors(layer, path, text):
    """One message for each include line of a file of `layer` that the table forbids."""
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, angled = match.groups()
        header = quoted or angled
        target = header.split("/")[0]
        if target not in TABLE:
            if quoted:
                yield f'{path}:{number}: "{header}" does not start with the folder of a layer'
        elif angled:
            yield f'{path}:{number}: <{header}> is ours and takes quotes'
        elif target != layer and target not in TABLE[layer] and header not in TABLE[layer]:
            yield f'{path}:{number}: {layer}/ may not include "{header}"'


def check(root):
    errors = []
    num_files = 0
    for path in sorted(p for p in root.rglob("*") if p.suffix in SOURCES):
        parts = path.relative_to(root).parts
        if len(parts) < 2 or parts[0] not in TABLE:
            errors.append(f"{path}: lies in no layer of the table")
            continue
        num_files += 1
        errors += layer_errors(parts[0], path, path.read_text())
    return num_files, errors


def self_test():
    """The check finds what it is for, and only that."""
    cases = [
        ("base/a.h", '#include "base/b.h"\n#include <vector>\n', 0),
        ("base/a.h", '#include "tensor/dtype.h"\n', 1),
        ("io/a.cpp", '#include "kernels/kernels.h"\n', 1),
        ("io/a.cpp", '#include "tensor/tensor_view.h"\n#include "base/result.h"\n', 0),
        ("kv/a.h", '#include "kernels/kv_page.h"\n#include "io/file.h"\n', 0),
        ("kv/a.h", '#include "kernels/kernels.h"\n', 1),
        ("nn/attention/a.cpp", '  #  include "sched/policy.h"\n', 1),
        ("model/a.cpp", '#include "sched/policy.h"\n#include "engine/engine.h"\n', 2),
        ("sched/a.cpp", '#include "tensor/dtype.h"\n', 1),
        ("server/openai/a.cpp", '#include "engine/engine.h"\n#include "kernels/kernels.h"\n', 1),
        ("cli/a.cpp", '#include "server/serve.h"\n#include "kernels/kernels.h"\n', 0),
        ("engine/a.cpp", '#include "server/serve.h"\n', 1),
        ("engine/a.cpp", '#include <base/result.h>\n', 1),
        ("engine/a.cpp", '#include "local.h"\n', 1),
        ("stray/a.cpp", "", 1),
    ]
    for name, text, want in cases:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
            _, errors = check(pathlib.Path(folder))
            if len(errors) != want:
                sys.exit(f"self-test: {name} with {text!r}: {len(errors)} errors, expected {want}: {errors}")
    print(f"{len(cases)} cases are judged as they should be")


def main():
    arguments = sys.argv[1:]
    if "--self-test" in arguments:
        return self_test()
    root = pathlib.Path(arguments[0]) if arguments else pathlib.Path(__file__).resolve().parent.parent / "src"
    num_files, errors = check(root)
    if num_files == 0:
        sys.exit(f"no sources under {root}")
    print("\n".join([*errors, f"{num_files} files, {len(errors)} includes against the layer table"]))
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
