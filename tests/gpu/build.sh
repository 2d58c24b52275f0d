#!/usr/bin/env bash
# build.sh BUILD OUT: makes everything that run.sh needs on a machine with a GPU and without compilers: executables of the
# standard library's tests, of the examples and of the workbenches, with CUDA code. Needs NVRTC. OUT takes about 200 MB; where xz
# is there, OUT.tar.xz is made beside it, for carrying: the executables share their runtime, so it is small.
set -euo pipefail
build=$(realpath "$1") out=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
stmc=$build/bin/stmc
arch=${STM_ARCH:-sm_80,sm_90}
mkdir -p "$out"/{tests,bench,hevisum,scripts}
out=$(realpath "$out")
make() { "$stmc" "$@" --target "${target:-cuda}" --arch "$arch" 2>>"$out/build.log" || { tail -n 5 "$out/build.log" >&2; exit 1; }; }
: >"$out/build.log"
for file in "$root"/tests/language/stdlib/*.stm "$root"/tests/language/systems/*.stm "$root"/kernels/workbench/*.stm; do
    grep -q '^test ' "$file" || continue
    make test "$file" -o "$out/tests/$(basename "$file" .stm)"
done
for file in "$root"/kernels/workbench/*.stm; do
    name=$(basename "$file" .stm)
    for precision in tf32 bf16; do
        make "$file" --precision $precision -o "$out/bench/$name.$precision"
        case $name in map | reduce | softmax | norm | pool | gather | random | optimiser) break ;; esac # no products to speak of
    done
done
for precision in f32 tf32 bf16; do
    make "$root/examples/hevisum/hevisum.stm" -D type=35 --precision $precision -o "$out/hevisum/bench.$precision"
done
target=cpu,cuda make "$root/examples/hevisum/hevisum.stm" -o "$out/hevisum/hevisum" # both, to compare them
"$build/bin/maketissue" "$out/hevisum/tissue" --sections 2 --spots 96 --genes 80 >/dev/null
"$out/hevisum/hevisum" prepare --from "$out/hevisum/tissue" --out "$out/hevisum/tissue.h5" >/dev/null
rm -rf "$out/hevisum/tissue"
cp "$root"/tests/gpu/run.sh "$root"/tests/bench/hevisum.py "$root"/tests/bench/pytorch/*.py "$root"/tests/parity/hevisum_model.py "$out/scripts/"
find "$out" -type f -perm -u+x -size +1M -exec strip {} +
du -sh "$out" | sed 's/\t.*/ in all/'
if command -v xz >/dev/null; then
    tar c -C "$(dirname "$out")" "$(basename "$out")" | xz -T0 --lzma2=preset=3,dict=64MiB >"$out.tar.xz"
    du -h "$out.tar.xz"
fi
