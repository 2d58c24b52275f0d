#!/usr/bin/env bash
# Installs what is missing, builds (plain and with sanitizers) and runs all tests. Ends with the runner's summary.
# Real sections are used where ../shared/data is present; tests say so when it is not.
EXTRA_PACKAGES=g++ # the host shim of the CUDA target
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
JOBS=${JOBS:-$(nproc)}
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 # the build runs some programs itself

echo "== build"
build build
echo "== build with sanitizers"
build build-sanitize -DSTMC_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug

echo "== tests under address and undefined-behaviour sanitizers"
ctest --test-dir build-sanitize -L sanitize -j "$JOBS" --output-on-failure
echo "== tests"
ctest --test-dir build -j "$JOBS" --output-on-failure
