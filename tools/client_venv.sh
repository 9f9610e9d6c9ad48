#!/usr/bin/env bash
# Makes the Python environment of the client tests under build/ if it is missing or its requirements have changed, and
# prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$PWD/build/venv
requirements=tests/client/requirements.txt
if ! cmp -s "$requirements" "$venv/requirements.txt"; then
  rm -rf "$venv"
  python3 -m venv "$venv" >&2
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
  cp "$requirements" "$venv/requirements.txt"
fi
echo "$venv"
