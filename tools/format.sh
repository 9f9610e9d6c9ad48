#!/usr/bin/env bash
# Usage: tools/format.sh check|fix. The major version of clang-format is pinned: others lay code out differently.
set -euo pipefail
cd "$(dirname "$0")/.."
formatter=${CLANG_FORMAT:-clang-format-19}
mapfile -t files < <(git ls-files -co --exclude-standard '*.cpp' '*.h')
case "${1:-check}" in
  check) "$formatter" --dry-run -Werror "${files[@]}" || { echo "format: run 'make format'" >&2; exit 1; } ;;
  fix) "$formatter" -i "${files[@]}" ;;
  *) echo "usage: tools/format.sh check|fix" >&2; exit 2 ;;
esac
