#!/usr/bin/env bash
# compile.sh BUILD FILE.stm...: every file compiles for sm_80, sm_90 and as PTX, in each precision that is asked for with
# STM_PRECISIONS (default "f32 tf32 bf16"), and no function spills registers. Prints the totals of each file. A file with
# tests and no other job is compiled with its tests, in f64 as `stmc test` does. Exits 77 where NVRTC is missing.
# shellcheck source=../cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
shift
files=()
for file in "$@"; do files+=("$(cd "$OLDPWD" && realpath "$file")"); done
for file in "${files[@]}"; do
    name=$(basename "$file" .stm)
    precisions=${STM_PRECISIONS:-f32 tf32 bf16} command=()
    grep -Eq '^(train|predict|evaluate|embed) ' "$file" || { command=(test) precisions=f64; }
    for precision in $precisions; do
        "$stmc" "${command[@]}" "$file" --target cuda --arch sm_80,sm_90 --precision "$precision" --emit plan >plan 2>out
        status=$?
        grep -q NVRTC out && { echo "no NVRTC: skipped"; exit 77; }
        [ $status = 0 ] || { bad "$name $precision: exit status $status"; continue; }
        awk '/^launch/ { if ($NF > 0) { print; spilled = 1 } } END { exit spilled }' plan >out || { bad "$name $precision: spills"; continue; }
        ok
        awk -v name="$name" -v precision="$precision" '
            /^launch/ { launches++; seen[$3] = 1; n = NF - 2; if ($n > most) most = $n } /^matmul/ { products++ }
            END { for (f in seen) functions++
                  printf "%-16s %-5s %4d functions, %4d launches and %2d products, at most %3d registers\n", name, precision,
                      functions, launches, products, most }' plan
    done
done
finish
