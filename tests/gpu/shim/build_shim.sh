#!/bin/bash
# Builds sources of CUDA C for the host, with an entry for each of their functions.
#   build_shim.sh library OUT.so                        the shim itself
#   build_shim.sh kernels OUT.so KERNELS_DIR LIB.so checked|plain FILE.cu...
# `checked` instruments every access. KERNELS_DIR holds prelude.cuh; LIB.so is the shim. Exits 77 without g++.
set -e
here=$(cd "$(dirname "$0")" && pwd)
compiler=${STM_SHIM_CXX:-g++}
command -v "$compiler" > /dev/null || { echo "no $compiler: the host shim cannot be built"; exit 77; }
what=$1 out=$2
case $what in
library)
    exec "$compiler" -std=c++17 -O2 -g1 -Wall -Wextra -Werror -fPIC -shared -fvisibility=default -I"$here" \
        "$here"/*.cpp -o "$out" -ldl -lpthread
    ;;
kernels)
    kernels=$3 library=$4 mode=$5
    shift 5
    flags=(-std=c++17 -fPIC -fno-gnu-unique -ffp-contract=off -fno-strict-aliasing -DSTM_HOST -I"$here" -I"$kernels" -w)
    wrap=()
    if [ "$mode" = checked ]; then
        flags+=(-O1 -g1 -gdwarf-4 -fsanitize=thread --param=tsan-instrument-func-entry-exit=0 -fno-tree-vectorize
            -fsanitize=alignment,bounds,shift,signed-integer-overflow,integer-divide-by-zero)
        wrap=(-Wl,--wrap=memcpy -Wl,--wrap=memmove -Wl,--wrap=memset)
    else
        flags+=(-O2)
    fi
    work=$(mktemp -d "${TMPDIR:-/tmp}/shim.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    objects=()
    jobs=0
    pids=()
    for file in "$@"; do
        name=$(basename "$file" .cu)
        [ -f "$file" ] || { echo "build_shim.sh: $file does not exist" >&2; exit 2; }
        { printf '#include "%s"\n' "$(realpath "$file")"
          # the functions' names: extern "C" __global__ void [__launch_bounds__(...)] NAME(
          tr '\n' ' ' < "$file" | grep -oE 'extern +"C" +__global__ +void +(__launch_bounds__ *\([^)]*\) *)?[A-Za-z_][A-Za-z_0-9]* *\(' |
              sed -E 's/ *\($//; s/.*[ )]//' | sort -u | sed 's/.*/STM_SHIM_KERNEL(&)/'
        } > "$work/$jobs-$name.cpp"
        "$compiler" "${flags[@]}" -I"$(dirname "$file")" -c "$work/$jobs-$name.cpp" -o "$work/$jobs.o" &
        pids+=($!)
        objects+=("$work/$jobs.o")
        jobs=$((jobs + 1))
        if [ $((jobs % 2)) = 0 ]; then
            for p in "${pids[@]}"; do wait "$p"; done
            pids=()
        fi
    done
    for p in "${pids[@]}"; do wait "$p"; done
    libdir=$(cd "$(dirname "$library")" && pwd)
    "$compiler" -shared "${objects[@]}" "${wrap[@]}" -o "$out" -Wl,-rpath,"$libdir" -Wl,--no-as-needed "$library" -lm
    ;;
*)
    echo "usage: build_shim.sh library OUT.so | kernels OUT.so KERNELS_DIR LIB.so checked|plain FILE.cu..." >&2
    exit 2
    ;;
esac
