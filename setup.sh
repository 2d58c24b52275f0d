#!/usr/bin/env bash
# Installs what is missing (Debian 12, Ubuntu 24.04; as root or with sudo) and builds into build/. Quick when nothing changed.
# Sourced by demo.sh and test.sh; every package is explained in README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

PACKAGES=(gcc cmake ninja-build re2c bison llvm-19-dev libhdf5-dev libtiff-dev libjpeg-dev libpng-dev zlib1g-dev libaec-dev
          libwebp-dev libzstd-dev liblzma-dev libdeflate-dev)
PACKAGES+=(${EXTRA_PACKAGES:-}) # what only the tests need
missing=()
for package in "${PACKAGES[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing: ${missing[*]}"
    SUDO=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "not root and no sudo: install these packages first: ${missing[*]}" >&2; exit 3; }
        SUDO=sudo
    fi
    log=$(mktemp)
    if ! { $SUDO apt-get update && $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "the packages could not be installed; the lines above say why" >&2
        exit 3
    fi
    rm -f "$log"
fi

build() { # build DIRECTORY [cmake options...]
    local dir=$1; shift
    cmake -S . -B "$dir" -G Ninja "$@" >"$dir.log" 2>&1 || { cat "$dir.log" >&2; return 3; }
    ninja -C "$dir" >"$dir.log" 2>&1 || { tail -n 40 "$dir.log" >&2; return 3; }
    rm -f "$dir.log"
}
