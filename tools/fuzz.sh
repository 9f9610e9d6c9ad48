#!/usr/bin/env bash
# Runs every built fuzzer for some seconds, as many at once as there are cores; fails on a finding.
# Usage: tools/fuzz.sh SECONDS [BUILD_DIR]        (build first: cmake --preset fuzz && cmake --build --preset fuzz)
# FUZZ_SEED=N fixes the seed of the mutations: the same build, corpus and seed try the same inputs.
# Seeds come from tests/fuzz/corpus/NAME; what a run discovers is kept in BUILD_DIR/corpus/NAME and used by the next
# run; inputs that fail lie in BUILD_DIR/findings.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?usage: tools/fuzz.sh SECONDS [BUILD_DIR]}
build=${2:-build/fuzz}
seed=${FUZZ_SEED:-0}  # 0: libFuzzer takes the time
export seconds build seed

shopt -s nullglob
fuzzers=("$build"/bin/fuzz_*)
((${#fuzzers[@]} > 0)) || { echo "no fuzzers in $build/bin; build them with the preset 'fuzz'" >&2; exit 1; }

run_one() {
  local binary=$1 name=${1##*/fuzz_} seeds=() words=()
  mkdir -p "$build/corpus/$name" "$build/findings"
  [[ -d tests/fuzz/corpus/$name ]] && seeds=("tests/fuzz/corpus/$name")
  [[ -f tests/fuzz/corpus/$name.dict ]] && words=("-dict=tests/fuzz/corpus/$name.dict")
  local log=$build/findings/$name.log
  if "$binary" -seed="$seed" -max_total_time="$seconds" -rss_limit_mb=2048 -malloc_limit_mb=512 -timeout=60 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$name-" "${words[@]}" "$build/corpus/$name" "${seeds[@]}" >"$log" 2>&1; then
    printf '%-14s ok: %s runs\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
  else
    tail -60 "$log"
    printf '%-14s FAILED, see %s; its inputs in base64:\n' "$name" "$log"
    for input in "$build/findings/$name"-*; do echo "${input##*/} $(head -c 65536 "$input" | base64 -w 0)"; done
    return 1
  fi
}
export -f run_one

# xargs exits with 123 when a run failed.
printf '%s\0' "${fuzzers[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'run_one "$1"' run_one
