#!/usr/bin/env bash
# modules.sh BUILD FILE.stm...: the test blocks of each file, run from its CUDA plan on the host shim: expected values,
# gradients against central differences (f64) and structure hold there as on the CPU. Every access is checked.
# Exits 77 where g++ or NVRTC is missing.
# shellcheck source=../cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
shim=$build/lib/libstmshim.so
[ -f "$shim" ] || { echo "no host shim: skipped"; exit 77; }
shift
export STM_CUDA_DRIVER=$shim STM_CUBLASLT=$shim
files=()
for file in "$@"; do files+=("$(cd "$OLDPWD" && realpath "$file")"); done
for file in "${files[@]}"; do
    name=$(basename "$file" .stm)
    mkdir -p "$name"
    "$stmc" test "$file" --target cpu,cuda --arch sm_90 -o "$name/exe" >out 2>&1 || {
        grep -q NVRTC out && { echo "no NVRTC: skipped"; exit 77; }
        cat out
        exit 1
    }
    expect 0 '' "$name: CUDA C" "$stmc" test "$file" --target cuda --arch sm_90 --emit cuda --emit-dir "$name" -o "$name/exe"
    expect 0 '' "$name: for the host" "$root/tests/gpu/shim/build_shim.sh" kernels "$PWD/$name/kernels.so" \
        "$root/kernels" "$shim" "${STM_SHIM_MODE:-checked}" "$name"/*.cu
    export STM_SHIM_KERNELS=$PWD/$name/kernels.so STM_SHIM_REPORT=$PWD/$name/report
    expect 0 ' 0 failed' "$name: tests on the shim" "$name/exe" test --device cuda
    check "$name: no report" test ! -s "$name/report"
    tail -n 1 out
done
finish
