#!/usr/bin/env bash
# Everything that `make test` runs after the setup: build, ctest, client tests, fuzz smoke, format and lint.
# Usage: tools/run_tests.sh PRESET JOBS
set -euo pipefail

preset=${1:-release}
jobs=${2:-2}
cd "$(dirname "$0")/.."
build=build/$preset
fuzz_seconds=${FUZZ_SMOKE_SECONDS:-20}

step() { printf '\n== %s (%(%H:%M:%S)T)\n' "$1" -1; }

step "format and layers"
tools/format.sh check
python3 tools/check_layers.py

step "build ($preset)"
cmake --preset "$preset" -DPAGODA_TESTS=ON >/dev/null
cmake --build "$build" -j"$jobs" -- --quiet

step "model"
model=$(python3 tools/fetch_model.py smollm2-135m)
PAGODA_MODELS=$(dirname "$model")
export PAGODA_MODELS

step "unit and golden tests"
ctest --test-dir "$build" --output-on-failure -j1

step "comparison of benchmarks"
python3 -m unittest discover -s tests/bench

step "client tests"
venv=$(tools/client_venv.sh)
PAGODA_BUILD=$PWD/$build "$venv/bin/python" -m pytest -q tests/client

step "speed of the kernels in 10 s: recorded in $build/bench-kernels.txt, not judged"
"$build/bin/pagoda" bench kernels --seconds 10 | tee "$build/bench-kernels.txt"

step "lint, what changed last first, for ${TIDY_SECONDS:=120} s"
export TIDY_SECONDS
tools/tidy.sh "$build"

step "fuzz, $fuzz_seconds s each"
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -- --quiet
FUZZ_SEED=1 tools/fuzz.sh "$fuzz_seconds"  # a fixed seed: new inputs are what `make fuzz` is for

step "done"
