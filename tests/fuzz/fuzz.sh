#!/bin/sh
# The fuzzers of the data room, driven by coverage: fuzz.sh BUILD SECONDS [NAME ...]
#
# Builds runtime/core, runtime/data and the drivers (fuzz_NAME.c, default: all that have a corpus) with clang's
# libFuzzer and the address and undefined-behaviour sanitizers in the directory BUILD, runs each for SECONDS, two at a
# time, and prints executions, coverage (edges, features) and findings. Inputs that end in a finding lie in
# BUILD/findings. Then the kept corpus tests/fuzz/corpus/NAME is replaced by the smallest one of the same coverage
# (KEEP=no leaves it as it is). HDF5 and the picture libraries are not instrumented.
set -eu
build=${1:?usage: fuzz.sh BUILD SECONDS [NAME ...]}
seconds=${2:?usage: fuzz.sh BUILD SECONDS [NAME ...]}
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$build/objects" "$build/findings" "$build/corpus"
build=$(cd "$build" && pwd)
cd "$root"
[ $# -gt 0 ] || set -- $(ls tests/fuzz/corpus)
clang=${CLANG:-clang}
flags="-std=c17 -D_GNU_SOURCE= -g -O1 -fno-omit-frame-pointer -fno-math-errno -Wall -Wextra -Werror -Iruntime
  -isystem ${HDF5_INCLUDE:-/usr/include/hdf5/serial}"
libraries="-L/usr/lib/$($clang -print-multiarch 2>/dev/null || echo x86_64-linux-gnu)/hdf5/serial -lhdf5_serial -ltiff
  -lpng -ljpeg -ldeflate -lz -lm -ldl -lpthread"

echo "building"
for source in runtime/core/*.c runtime/data/*.c; do
  object="$build/objects/$(echo "$source" | tr / _).o"
  new=$(find runtime/core runtime/data -newer "$object" -name '*.h' 2>/dev/null | head -1)
  [ -f "$object" ] && [ ! "$source" -nt "$object" ] && [ -z "$new" ] || echo "$source $object"
done | xargs -r -P2 -n2 sh -c "$clang"' '"$(echo $flags)"' -fsanitize=fuzzer-no-link,address,undefined -c "$0" -o "$1"'
rm -f "$build/libdata.a"
ar rcs "$build/libdata.a" "$build"/objects/*.o
for name; do
  more=
  case $name in counts | store) more=tests/fuzz/h5_edit.c ;; esac
  driver=$name
  [ "$name" = weights ] && driver=pickle
  $clang $flags -fsanitize=fuzzer,address,undefined -DSTMC_LIBFUZZER -o "$build/fuzz_$name" \
    "tests/fuzz/fuzz_$driver.c" $more "$build/libdata.a" $libraries
done

# What a driver reads besides its own corpus.
others() {
  case $1 in
  slide) echo tests/data/reference/images ;;
  weights) echo tests/data/reference/weights ;;
  esac
}

export ASAN_OPTIONS="allocator_may_return_null=1:detect_leaks=1:${ASAN_OPTIONS:-}"
run() {
  mkdir -p "$build/corpus/$1"
  longest=20000
  case $1 in counts | store) longest=256 ;; esac # lists of edits
  nice "$build/fuzz_$1" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -malloc_limit_mb=1000 \
    -max_len=$longest -len_control=50 -print_final_stats=1 -artifact_prefix="$build/findings/$1-" \
    "$build/corpus/$1" "tests/fuzz/corpus/$1" $(others "$1") >"$build/$1.log" 2>&1 || true
}
report() {
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$1.log")
  reached=$(sed -n 's/.*\(cov: [0-9]* ft: [0-9]*\).*/\1/p' "$build/$1.log" | tail -1)
  found=$(find "$build/findings" -name "$1-*" | wc -l)
  printf '%-8s %4s s %10s executions  %-22s findings: %s\n' "$1" "$seconds" "${runs:-?}" "$reached" "$found"
}
while [ $# -gt 0 ]; do
  run "$1" &
  if [ $# -gt 1 ]; then run "$2" & fi
  wait
  for name in "$1" ${2:-}; do
    report "$name"
    [ "${KEEP:-yes}" = yes ] || continue
    rm -rf "$build/merged"
    mkdir "$build/merged"
    if "$build/fuzz_$name" -merge=1 -use_counters=0 -timeout=20 "$build/merged" "tests/fuzz/corpus/$name" \
      "$build/corpus/$name" >"$build/$name.merge.log" 2>&1; then
      rm -rf "tests/fuzz/corpus/$name"
      mkdir "tests/fuzz/corpus/$name"
      cp "$build/merged"/* "tests/fuzz/corpus/$name/"
    fi
  done
  shift
  [ $# -eq 0 ] || shift
done
