#!/usr/bin/env bash
# cuda.sh BUILD: the flags of the CUDA target, what it says without NVRTC, its cache, and what it puts into executables.
# No GPU is needed; what needs NVRTC is skipped where stmc finds none.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cp "$here/tiny.stm" tiny.stm
export STMC_CACHE=$work/cache

# ---- the command line
"$stmc" --help >help
for flag in --target --arch --no-cache --precision --emit; do check "help names $flag" grep -q -- " $flag" help; done
expect 0 'targets: cpu, cuda\)' "version names the targets" "$stmc" --version
expect 2 'cpu, cuda or cpu,cuda, not `riscv`' "unknown target" "$stmc" tiny.stm -o exe --target riscv
expect 2 'not `cpu,`' "half a target" "$stmc" tiny.stm -o exe --target cpu,
expect 2 'not `cudas`' "a longer target" "$stmc" tiny.stm -o exe --target cudas
for arch in sm_12 90 sm_90x sm_ sm_80,, compute_80 sm_-80; do
    expect 2 "one of sm_80 .*sm_90 .*, not \`$arch\`" "--arch $arch" "$stmc" tiny.stm -o exe --target cuda --arch $arch
done
expect 2 'add --target cuda' "--arch without CUDA" "$stmc" tiny.stm -o exe --arch sm_90
expect 2 'f32, tf32, bf16 or f64, not `f16`' "unknown precision" "$stmc" tiny.stm --check --precision f16
expect 2 '--emit cuda needs --target cuda' "--emit cuda for the CPU" "$stmc" tiny.stm --emit cuda --target cpu
expect 2 '--emit ptx needs --target cuda' "--emit ptx for the CPU" "$stmc" tiny.stm --emit ptx --target cpu
mkdir ir
expect 2 '--emit llvm needs --target cpu' "--emit llvm for the GPU" \
    "$stmc" tiny.stm --emit llvm --emit-dir ir --target cuda
expect 2 '--emit plan prints one plan' "--emit plan for both" "$stmc" tiny.stm --emit plan --target cpu,cuda
expect 2 'needs --target cpu, or -o EXE' "test without the CPU" "$stmc" test tiny.stm --target cuda
absent "a wrong command line writes nothing" exe

# ---- without NVRTC
export STMC_NVRTC=$work/none/libnvrtc.so.13
expect 3 'STMC_NVRTC is .*none/libnvrtc.so.13, which cannot be loaded: No such file' "a missing NVRTC" \
    "$stmc" tiny.stm -o exe --target cpu,cuda
expect 3 'STMC_NVRTC' "a missing NVRTC and the plan" "$stmc" tiny.stm --emit plan --target cuda
echo text >library
STMC_NVRTC=$work/library expect 3 'library is there, but cannot be loaded' "a file that is no library" \
    "$stmc" tiny.stm -o exe --target cuda
absent "without NVRTC nothing is written" exe cache
check "--check needs no NVRTC" "$stmc" tiny.stm --check --target cpu,cuda
expect 0 '^extern "C" __global__' "--emit cuda needs no NVRTC" "$stmc" tiny.stm --emit cuda
expect 0 '#include "prelude.cuh"' "--emit cuda includes the prelude" "$stmc" tiny.stm --emit cuda --target cpu,cuda
refute "functions have their names" grep -q '@' out
mkdir cu
check "--emit cuda into a folder" "$stmc" tiny.stm --emit cuda --emit-dir cu
check "--emit cuda writes modules" grep -q '__global__' cu/module0.cu
expect 3 'none/module0.cu.*No such file' "--emit cuda into a missing folder" \
    "$stmc" tiny.stm --emit cuda --emit-dir none
"$stmc" tiny.stm --emit cuda >one.cu 2>err
"$stmc" tiny.stm --emit cuda >two.cu 2>err
check "two runs emit the same" cmp one.cu two.cu
unset STMC_NVRTC

# ---- with NVRTC
if ! "$stmc" tiny.stm --emit ptx >one.ptx 2>out; then
    if grep -q 'the CUDA target needs NVRTC' out; then
        skip "compiling for CUDA" "NVRTC was not found"
        finish
        exit
    fi
    bad "--emit ptx"
fi
check "--emit ptx prints the lowest architecture" grep -q '^\.target sm_80' one.ptx
expect 0 '^\.target sm_90' "--emit ptx of another architecture" "$stmc" tiny.stm --emit ptx --arch sm_90
mkdir ptx
check "--emit ptx into a folder" "$stmc" tiny.stm --emit ptx --emit-dir ptx
check "--emit ptx writes modules" grep -q '^\.visible \.entry stm_' ptx/module0.ptx
check "the cache holds modules" sh -c 'ls cache/*.stmcuda'

rm -r cache
expect 0 'exe: CUDA for sm_80 sm_90: kernels [0-9]+, functions [0-9]+, planned peak' "compile for both" \
    "$stmc" tiny.stm -o exe --target cpu,cuda --time-passes
refute "a new cache serves nothing" grep -q 'from the cache' out
for pass in 'cuda lower' nvrtc; do check "--time-passes names $pass" grep -q "^$pass .* ms" out; done
mv exe first
expect 0 '([0-9]+) of \1 modules from the cache' "compile again" "$stmc" tiny.stm -o exe --target cpu,cuda
check "the same bytes from the cache" cmp exe first
for entry in cache/*.stmcuda; do printf 'damaged' | dd of="$entry" bs=1 seek=200 conv=notrunc 2>err; done
expect 0 'exe: CUDA' "a damaged cache" "$stmc" tiny.stm -o exe --target cpu,cuda
refute "a damaged cache serves nothing" grep -q 'from the cache' out
check "the same bytes in spite of it" cmp exe first
expect 0 'of' "the cache is mended" "$stmc" tiny.stm -o exe --target cpu,cuda
check "the cache is mended" grep -Eq '([0-9]+) of \1 modules from the cache' out
# ---- with and without ptxas: as different as two ways of writing the same code
mkdir scratch
TMPDIR=$work/scratch expect 0 'other: CUDA' "with ptxas, if it is there" \
    "$stmc" tiny.stm -o other --target cuda --no-cache
check "nothing is left behind" rmdir scratch
rm other
STMC_PTXAS=none expect 0 'NVRTC compiled for each architecture: STMC_PTXAS is none' "without ptxas" \
    "$stmc" tiny.stm -o plain --target cpu,cuda --time-passes
STMC_PTXAS=none expect 0 '^launch' "a plan without ptxas" "$stmc" tiny.stm --emit plan --target cuda --arch sm_80,sm_90
mv out plain.plan
expect 0 '^launch' "a plan with it, if it is there" "$stmc" tiny.stm --emit plan --target cuda --arch sm_80,sm_90
check "the same registers and spills" cmp out plain.plan
STMC_PTXAS=$work/none/ptxas expect 3 'STMC_PTXAS is .*none/ptxas: cannot run .*No such file' "a missing ptxas" \
    "$stmc" tiny.stm -o other --target cuda
absent "a missing ptxas writes nothing" other
STMC_PTXAS=$work/none/ptxas expect 0 'CUDA for sm_90' "one architecture needs none" \
    "$stmc" tiny.stm -o other --target cuda --arch sm_90
expect 0 'exe: CUDA' "--no-cache" "$stmc" tiny.stm -o exe --target cpu,cuda --no-cache
refute "--no-cache" grep -q 'from the cache' out
check "the same bytes without the cache" cmp exe first
STMC_CACHE=/dev/null/cache expect 0 'exe: CUDA' "a cache that cannot be" "$stmc" tiny.stm -o exe --target cpu,cuda
check "the same bytes again" cmp exe first
expect 0 'sm_80 sm_90' "architectures in any order" \
    "$stmc" tiny.stm -o exe --target cuda,cpu --arch sm_90,sm_80,sm_90
check "the same bytes in any order" cmp exe first
check "no half-written entry" sh -c '! ls -A cache | grep -q "^\.new"'

expect 0 "small: CUDA for sm_90:" "one architecture, CUDA alone" "$stmc" tiny.stm -o small --target cuda --arch sm_90
mv small exe
check "without host code it is smaller" test "$(stat -c %s exe)" -lt "$(stat -c %s first)"
expect 0 'tiny, compiled by stmc' "it runs" ./exe --version
expect 0 'tiny' "it tells about itself" ./exe info

expect 0 '^  run ' "--emit plan for CUDA" "$stmc" tiny.stm --emit plan --target cuda
check "the plan has launches with their registers" grep -Eq '^launch [0-9]+ stm_[0-9a-f]+ .* [1-9][0-9]* [0-9]+ [0-9]+$' out
check "launches are of functions that exist" sh -c \
    'for f in $(sed -n "s/^launch [0-9]* \(stm_[0-9a-f]*\) .*/\1/p" out); do grep -q "$f(" one.cu || exit 1; done'
"$stmc" tiny.stm --emit plan --target cpu >cpu.plan 2>err
"$stmc" tiny.stm --emit plan >default.plan 2>err
check "the CPU's plan is the default" cmp cpu.plan default.plan
for precision in f32 tf32 bf16 f64; do
    expect 0 "^program tiny $([ $precision = f64 ] && echo f64 || echo f32) " "--precision $precision" \
        "$stmc" tiny.stm --emit plan --target cuda --precision $precision
done
finish
