#!/usr/bin/env bash
# clang-tidy over src/ with the checks of .clang-tidy. Usage: tools/tidy.sh BUILD_DIR [FILE …]
# The coroutine files take a minute each and are left to `tools/tidy.sh BUILD_DIR src/server/http/*.cpp`.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
shift
files=("$@")
if ((${#files[@]} == 0)); then
  mapfile -t files < <(git ls-files 'src/*.cpp' | grep -vE '^src/(server/http|kernels/isa)/')
fi
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy-19 -p "$build" --quiet --warnings-as-errors='*' 2> >(
  grep -vE '^[0-9]+ warnings? generated|^Suppressed|^Use -header-filter|^\[[0-9]+/[0-9]+\] Processing file' >&2 || true)
