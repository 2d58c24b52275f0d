#!/usr/bin/env bash
# train.sh BUILD: a whole program with a CUDA plan, run on the host shim with every access checked: it trains as on the CPU,
# gives the same bits whatever the order of threads is, and predicts the same. And what the shim and a full GPU make the
# program say. Exits 77 where g++ or NVRTC is missing.
# shellcheck source=../cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
shim=$build/lib/libstmshim.so
[ -f "$shim" ] || { echo "no host shim: skipped"; exit 77; }
tiny=$root/tests/cli/tiny.stm
"$stmc" "$tiny" --target cpu,cuda --arch sm_90 -o tiny >out 2>&1 || {
    grep -q NVRTC out && { echo "no NVRTC: skipped"; exit 77; }
    cat out
    exit 1
}
mkdir cuda
expect 0 '' "CUDA C of the program" "$stmc" "$tiny" --target cuda --arch sm_90 --emit cuda --emit-dir cuda
expect 0 '' "its functions for the host" "$root/tests/gpu/shim/build_shim.sh" kernels "$PWD/kernels.so" \
    "$root/kernels" "$shim" checked cuda/*.cu
export STM_CUDA_DRIVER=$shim STM_CUBLASLT=$shim STM_SHIM_KERNELS=$PWD/kernels.so STM_SHIM_REPORT=$PWD/report

expect 0 'A2: [0-9]+ spots' "a made tissue" "$maketissue" tissue --sections 2 --spots 12 --width 1000 --genes 80
expect 0 '2 sections' "prepare" ./tiny prepare --from tissue --out t.h5
train() { # train NAME ARGUMENTS...
    local name=$1
    shift
    expect 0 'epoch 2/2' "train, $name" ./tiny train t.h5 --hold-out A2 --out "$name" --epochs 2 --batch 5 "$@"
}
train cpu --device cpu
train ascending --device cuda
check "the shim's name is printed" grep -q 'stmc host shim' out
STM_SHIM_ORDER=descending train descending --device cuda
STM_SHIM_ORDER=shuffled:5 train shuffled --device cuda:0
for order in descending shuffled; do
    check "weights do not depend on the order of threads ($order)" cmp ascending/last.safetensors $order/last.safetensors
done
# The loss of the second epoch follows from the updates of the first.
losses() { sed -n 's/.*"split": "train", "loss": \([0-9.e+-]*\),.*/\1/p' "$1/metrics.jsonl"; }
check "losses are those of the CPU" sh -c "paste -d' ' - - | awk 'NF != 2 || (\$1 - \$2)^2 > (1e-5 * \$1)^2 { bad = 1 }
    { n++ } END { exit bad || n != 2 }'" < <(paste -d'\n' <(losses cpu) <(losses ascending))
predict() { ./tiny predict t.h5 --section A2 --weights cpu/best.safetensors --out "$1.csv" --map none --device "$1"; }
expect 0 'cpu.csv' "predict, cpu" predict cpu
expect 0 'cuda.csv' "predict, cuda" predict cuda
check "predictions are those of the CPU" sh -c "paste -d, cpu.csv cuda.csv | awk -F, 'NR > 1 { for (i = 3; i <= NF / 2; i++)
    if ((\$i - \$(i + NF / 2))^2 > 1e-8) bad = 1; n++ } END { exit bad || n < 3 }'"
check "no report" test ! -s report

# ---- what goes wrong is said
STM_SHIM_MEMORY=60000 expect 3 'has no room' "a GPU that is too small" ./tiny train t.h5 --hold-out A2 --out small --device cuda
STM_SHIM_KERNELS='' expect 3 'NOT_FOUND' "an image without a function" ./tiny train t.h5 --hold-out A2 --out none --device cuda
STM_CUDA_DRIVER=/no/such/file expect 1 'STM_CUDA_DRIVER=/no/such/file' "no driver" \
    ./tiny train t.h5 --hold-out A2 --out none --device cuda
finish
