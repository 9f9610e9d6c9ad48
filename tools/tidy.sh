#!/usr/bin/env bash
# clang-tidy over src/ with the checks of .clang-tidy. Usage: tools/tidy.sh BUILD_DIR [FILE …]
# The coroutine files take a minute each and are left to `tools/tidy.sh BUILD_DIR src/server/http/*.cpp`.
# TIDY_SECONDS=S starts no file after S seconds; the files that changed last come first.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
shift
files=("$@")
if ((${#files[@]} == 0)); then
  mapfile -t tracked < <(git ls-files 'src/*.cpp' | grep -vE '^src/(server/http|kernels/isa)/')
  mapfile -t files < <({ git log --format= --name-only -- src 2>/dev/null || true; printf '%s\n' "${tracked[@]}"; } |
    awk -v list="${tracked[*]}" 'BEGIN { split(list, names, " "); for (i in names) known[names[i]] } ($0 in known) && !seen[$0]++')
fi
limit=${TIDY_SECONDS:-0}
end=$((limit > 0 ? $(date +%s) + limit : 0))
left=$(mktemp)
export build end left
trap 'rm -f "$left"' EXIT

check() {
  if ((end > 0 && $(date +%s) >= end)); then
    printf '%s\n' "$@" >>"$left"
    return
  fi
  clang-tidy-19 -p "$build" --quiet --warnings-as-errors='*' "$@"
}
export -f check
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 2 bash -c 'check "$@"' check 2> >(
  grep -vE '^[0-9]+ warnings? generated|^Suppressed|^Use -header-filter|^\[[0-9]+/[0-9]+\] Processing file' >&2 || true)
[[ ! -s $left ]] || echo "$(wc -l <"$left") of ${#files[@]} files were left out after $limit s: tools/tidy.sh without TIDY_SECONDS looks at all"
