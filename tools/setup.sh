#!/usr/bin/env bash
# Installs what is missing of tools/packages.txt and checks the Rust toolchain. Quiet and quick when all is there.
# Usage: tools/setup.sh build|test
set -euo pipefail

level=${1:-build}
here=$(cd "$(dirname "$0")" && pwd)
min_cargo_minor=85

case "$level" in
  build) groups='build' ;;
  test) groups='build|test' ;;
  *) echo "setup: unknown level '$level' (build or test)" >&2; exit 2 ;;
esac

mapfile -t wanted < <(awk -v groups="^($groups)$" '!/^#/ && $2 ~ groups {print $1}' "$here/packages.txt")
mapfile -t installed < <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
  awk '$1 == "installed" {print $2}')
mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}" | sort -u) <(printf '%s\n' "${installed[@]}" | sort -u))

if ((${#missing[@]} > 0)); then
  as_root=()
  if ((EUID != 0)); then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
      as_root=(sudo -n)
    else
      echo "setup: these Debian packages are missing and installing them needs root. Run once:" >&2
      echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
      exit 1
    fi
  fi
  if ! command -v apt-get >/dev/null; then
    echo "setup: Pagoda's setup knows Debian's apt-get only; install the equivalents of: ${missing[*]}" >&2
    exit 1
  fi
  echo "setup: installing ${#missing[@]} packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

[[ -d $HOME/.cargo/bin ]] && PATH="$HOME/.cargo/bin:$PATH"
if ! command -v cargo >/dev/null; then
  echo "setup: no Rust toolchain found (cargo). Debian 12's is too old: install one with rustup, then run this again." >&2
  exit 1
fi
minor=$(cargo --version | sed -E 's/^cargo 1\.([0-9]+).*/\1/')
if ! [[ $minor =~ ^[0-9]+$ ]] || ((minor < min_cargo_minor)); then
  echo "setup: $(cargo --version) is too old; Pagoda needs 1.$min_cargo_minor or later (rustup update stable)." >&2
  exit 1
fi
