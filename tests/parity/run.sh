#!/usr/bin/env bash
# run.sh BUILD_DIR [-v]: compiled programs against the recorded references: the 119 cases of single modules, and
# HEVisum at full width, in f64 and f32, on the instruction sets that this CPU has. Needs 200 MB in TMPDIR, and
# about a minute of two cores. Prints `N passed, N failed`; exits 1 if anything failed. -v shows every check
# with its distance.
set -u
build=$(realpath "${1:?usage: run.sh BUILD_DIR [-v]}")
verbose=(${2:+"$2"})
here=$(cd "$(dirname "$0")" && pwd)
root=$(realpath "$here/../..")
stmc=$build/bin/stmc
work=$(mktemp -d "${TMPDIR:-/tmp}/stm_parity.XXXXXX") || exit 3
trap 'rm -rf "$work"' EXIT
mapfile -t archives < "$build/share/stmc/link.txt"
compiler=${CC:-cc}
passed=0 failed=0

bad() {
    failed=$((failed + 1))
    echo "FAILED $1"
    [ -s "$work/log" ] && head -n 8 "$work/log" | sed 's/^/    /'
}

# build NAME SPEC TEST STMC-FLAGS...: compiles a spec and links it with TEST.o to $work/NAME.
build() {
    local name=$1 spec=$2 test=$3 objects=$work/$1.objects
    shift 3
    mkdir -p "$objects"
    if ! "$stmc" "$spec" "$@" --emit objects --emit-dir "$objects" >"$work/log" 2>&1; then
        bad "stmc $name"
        return 1
    fi
    if ! "$compiler" "$work/$test.o" "$work/harness.o" "$work/reference.o" "$objects"/*.o -o "$work/$name" \
        -Wl,--start-group "$build/lib/libstmrt.a" "${archives[@]}" -Wl,--end-group -lm -ldl -lpthread \
        >"$work/log" 2>&1; then
        bad "linking $name"
        return 1
    fi
    rm -r "$objects"
}

# run NAME COMMAND...: adds up what a test prints as its last line; one that prints no such line has failed.
run() {
    local name=$1 last
    shift
    timeout 300 "$@" >"$work/log" 2>&1
    last=$(tail -n 1 "$work/log")
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
        sed '$d' "$work/log"
    else
        bad "$name"
    fi
}

isas=(v2)
grep -qw avx2 /proc/cpuinfo && isas+=(v3)
grep -qw avx512f /proc/cpuinfo && isas+=(v4)
best=${isas[-1]}

flags=(-std=c17 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE)
for file in harness hevisum_test modules_test modules_spec reference; do
    "$compiler" "${flags[@]}" -c "$here/$file.c" -o "$work/$file.o" || exit 3
done
"$compiler" "$work/modules_spec.o" "$work/reference.o" -lm -o "$work/modules_spec" || exit 3

# ---- modules. Evaluation mode takes part in a training step only if the page with the batch norms says so.
sed 's/if training {/if false {/' "$root/stdlib/nn.stm" > "$work/nn_eval.stm"
families=$("$work/modules_spec" "$here" families 2>"$work/log") || bad "recipes and recorded cases differ"
for family in $families; do
    "$work/modules_spec" "$here" "$family" > "$work/$family.stm" || { bad "the spec of $family"; continue; }
    for precision in f64 f32; do
        name=$family.$precision
        build "$name" "$work/$family.stm" modules_test --precision $precision || continue
        for isa in "${isas[@]}"; do
            run "$name.$isa" env STM_ISA="$isa" "$work/$name" "$here" "$family" "${verbose[@]}"
        done
    done
done

# ---- HEVisum. In f64 the tile must be what the recording saw, (float)byte / 255.0f, so real pixels go in.
edit() { # edit FILE LINES SED-ARGUMENTS...: a variant of the spec that differs in that many lines
    local file=$1 lines=$2
    shift 2
    sed "$@" "$spec" > "$work/$file"
    if [ "$(diff "$spec" "$work/$file" | grep -c '^>')" -ne "$lines" ]; then
        : > "$work/log"
        bad "hevisum.stm no longer has the lines that run.sh edits for $file"
    fi
}
spec=$root/examples/hevisum/hevisum.stm
pixels=(-e 's/^input tile  : u8\(.*\) from tiles/input tile  : f32\1 from pixels/' -e 's|tile\[s, i, j, c\] / 255|tile[s, i, j, c]|')
edit hevisum_f64.stm 2 "${pixels[@]}"
edit hevisum_frozen.stm 3 "${pixels[@]}" -e 's/^use nn,/use "nn_eval.stm",/'
options=(-D type=35 -D drop=0)
if build hevisum.f32 "$spec" hevisum_test "${options[@]}"; then
    for isa in "${isas[@]}"; do
        [ "$isa" = "$best" ] && what=all || what=step
        run "hevisum.f32.$isa" env STM_ISA="$isa" "$work/hevisum.f32" "$here" "$what" "${verbose[@]}"
    done
fi
build hevisum.f64 "$work/hevisum_f64.stm" hevisum_test "${options[@]}" --precision f64 &&
    run hevisum.f64 "$work/hevisum.f64" "$here" all "${verbose[@]}"
build hevisum.frozen "$work/hevisum_frozen.stm" hevisum_test "${options[@]}" --precision f64 &&
    run hevisum.frozen "$work/hevisum.frozen" "$here" frozen "${verbose[@]}"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
