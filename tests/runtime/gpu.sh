#!/usr/bin/env bash
# gpu.sh LINEAR_CUDA LINEAR_ALONE MAKE_STORE GPU_UNIT: the runtime on a GPU, which is the host shim (tests/gpu/shim), through the
# hand-written program of linear_cuda.c: the same results as on the CPU from the command line inwards, and what is said when a GPU cannot
# be used. Prints "N passed, N failed" and exits 1 if anything failed; exits 77 where the shim cannot be built.
set -u
linear=$(realpath "$1") alone=$(realpath "$2") make_store=$(realpath "$3") unit=$(realpath "$4")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/stm_gpu.XXXXXX") || exit 3
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 3
passed=0 failed=0
ok() { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); echo "FAILED $1"; [ -f out ] && head -c 600 out | sed 's/^/    /'; }

# expect STATUS PATTERN NAME COMMAND...: exit status and a pattern (grep -E) in its output.
expect() {
    local status=$1 pattern=$2 name=$3 got
    shift 3
    "$@" >out 2>&1
    got=$?
    if [ "$got" -eq "$status" ] && grep -Eq -- "$pattern" out; then ok; else bad "$name (exit $got, wanted $status and '$pattern')"; fi
}
check() { # check NAME COMMAND...: the command succeeds
    local name=$1
    shift
    if "$@" >out 2>&1; then ok; else bad "$name"; fi
}
quiet() { ! "$@" 2>&1 >/dev/null | grep -q .; } # nothing on stderr
same_bytes() {
    local file
    for file in last.safetensors best.safetensors state.safetensors metrics.jsonl; do cmp "$1/$file" "$2/$file" || return 1; done
}
# Every number of one file is near the number in the same place of the other; the rest is equal.
same_numbers() {
    awk -v b="$2" '
        function split_line(s, words) { gsub(/[^-+.eE0-9a-zA-Z_]/, " ", s); return split(s, words, " ") }
        { if ((getline other < b) <= 0) { print "line " NR " is missing"; exit 1 }
          n = split_line($0, x); m = split_line(other, y)
          if (n != m) { print "line " NR " differs"; exit 1 }
          for (i = 1; i <= n; i++) {
              if (x[i] == y[i]) continue
              d = x[i] - y[i]; if (d < 0) d = -d; s = y[i] < 0 ? -y[i] : y[i]
              if (x[i] !~ /^[-+0-9]/ || d > 2e-4 * (s + 0.05)) { print "line " NR ": " x[i] " against " y[i]; exit 1 } } }
        END { if (!failed && (getline other < b) > 0) { print "more lines"; exit 1 } }' "$1"
}

"$here/../gpu/shim/build_shim.sh" library shim.so >out 2>&1
case $? in 0) ;; 77) cat out; exit 77 ;; *) bad "the shim builds"; echo "0 passed, 1 failed"; exit 1 ;; esac
check "kernels for the shim" "$here/../gpu/shim/build_shim.sh" kernels kernels.so "$here/../../kernels" shim.so checked "$here/linear_cuda.cu"
export STM_SHIM_KERNELS=$work/kernels.so
no_gpu=(env -u STM_CUDA_DRIVER)
export STM_CUDA_DRIVER=$work/shim.so STM_CUBLASLT=$work/shim.so

expect 0 ' 0 failed' "unit tests" env STM_SHIM_MEMORY=12000000000 "$unit"
check "store" "$make_store" s.h5 3 200

# ---- info
expect 0 'cuda:0 stmc host shim, capability 9.0, .*: usable' "info lists the device" "$linear" info
expect 0 'cuda: sm_90, PTX of 8.0; 9 kernels' "info says what code there is" "$linear" info
expect 0 '"usable": ?true' "info --json" "$linear" info --json
expect 0 'no code|holds code for sm_90, PTX of 8.0; compile with --arch sm_70' "info says why not" env STM_SHIM_CAPABILITY=70 "$linear" info
expect 0 'none: .*no NVIDIA driver was found' "info without a driver" "${no_gpu[@]}" "$linear" info
expect 0 'none: .*CUDA_ERROR_NO_DEVICE' "info without a device" env STM_SHIM_DEVICES=0 "$linear" info
expect 0 '"no_device": ?"no NVIDIA driver' "info --json without a driver" "${no_gpu[@]}" "$linear" info --json
expect 0 '^launch 2 f_loss' "info --plan --device cuda" "$linear" info --plan --device cuda
expect 0 'none \(compiled for CUDA alone\)' "info of a program for CUDA alone" "$alone" info

# ---- the choice of a device
expect 2 'number of a GPU follows cuda:' "cuda:x" "$linear" test --device cuda:x
expect 3 'there is no cuda:7; this machine has 1 GPU' "cuda:7" "$linear" test --device cuda:7
expect 3 'device cuda: no NVIDIA driver was found' "cuda without a driver" "${no_gpu[@]}" "$linear" test --device cuda
expect 3 'no NVIDIA GPU is visible' "cuda without a device" env STM_SHIM_DEVICES=0 "$linear" test --device cuda
expect 1 'compile with --arch sm_75' "cuda without code for it" env STM_SHIM_CAPABILITY=75 "$linear" test --device cuda
expect 1 '/nonexistent' "cuda without cuBLASLt" env STM_CUBLASLT=/nonexistent "$linear" test --device cuda
expect 0 'note: computing on the CPU: no NVIDIA driver' "auto without a driver" "${no_gpu[@]}" "$linear" test
expect 0 'note: computing on the CPU: .*sm_75' "auto without code" env STM_SHIM_CAPABILITY=75 "$linear" test
check "cpu says nothing" quiet "$linear" test --device cpu
check "auto with a device says nothing" quiet "$linear" test
expect 0 '1 passed, 0 failed' "test on a device" "$linear" test --device cuda
expect 1 'compiled for CUDA alone' "CUDA alone on the CPU" "$alone" test --device cpu
expect 3 'compiled for CUDA alone and no GPU can be used: no NVIDIA driver' "CUDA alone without a driver" "${no_gpu[@]}" "$alone" test
expect 0 '1 passed, 0 failed' "CUDA alone on a device" "$alone" test

# ---- training
expect 0 'best: mse' "train on the CPU" "$linear" train s.h5 --hold-out S3 --out c --device cpu
expect 0 'stmc host shim' "train on a device" "$linear" train s.h5 --hold-out S3 --out g --device cuda:0
expect 0 '"device": ?"cuda:0"' "config.json names the device" cat g/config.json
expect 0 '"device_name": ?"stmc host shim"' "config.json names its name" cat g/config.json
expect 0 '"device": ?"cpu"' "config.json of the CPU" cat c/config.json
check "the same metrics as on the CPU" same_numbers g/metrics.jsonl c/metrics.jsonl
"$linear" train s.h5 --hold-out S3 --out g2 --device auto >out 2>&1
check "a second run gives the same bytes" same_bytes g g2
STM_SHIM_ORDER=shuffled:5 "$linear" train s.h5 --hold-out S3 --out g3 --device cuda >out 2>&1
check "so it does in another order of threads" same_bytes g g3
"$linear" train s.h5 --hold-out S3 --out r --device cuda --epochs 5 >out 2>&1
expect 0 'resuming at epoch 6' "resume on the device" "$linear" train s.h5 --hold-out S3 --out r --device cuda --resume
check "a resumed run gives the same bytes" same_bytes g r
"$linear" train s.h5 --hold-out S3 --out m --device cuda --epochs 5 >out 2>&1
expect 0 'resuming at epoch 6' "resume a device's run on the CPU" "$linear" train s.h5 --hold-out S3 --out m --device cpu --resume
check "device, then CPU: the same metrics" same_numbers m/metrics.jsonl c/metrics.jsonl
"$linear" train s.h5 --hold-out S3 --out n --device cpu --epochs 5 >out 2>&1
expect 0 'resuming at epoch 6' "resume a CPU's run on the device" "$linear" train s.h5 --hold-out S3 --out n --device cuda --resume
check "CPU, then device: the same metrics" same_numbers n/metrics.jsonl c/metrics.jsonl
expect 0 'best: mse' "batches with a tail" "$linear" train s.h5 --hold-out S3 --out t --device cuda --batch 33 --epochs 3
"$linear" train s.h5 --hold-out S3 --out tc --device cpu --batch 33 --epochs 3 >out 2>&1
check "batches with a tail: the same metrics" same_numbers t/metrics.jsonl tc/metrics.jsonl
expect 1 'the loss became (nan|infinite)' "a loss that is not finite" "$linear" train s.h5 --out x --device cuda --lr 1e30

# ---- prediction
for device in cpu cuda; do
    expect 0 '600 spots, 3 columns' "predict on $device" "$linear" predict s.h5 --weights g/best.safetensors --out $device.csv --map none --device $device --batch 64
    expect 0 'mse' "evaluate on $device" "$linear" evaluate s.h5 --weights c/best.safetensors --json --device $device --batch 64
    grep -v threads out >$device.json
done
check "the same predictions" same_numbers cuda.csv cpu.csv
check "the same evaluation" same_numbers cuda.json cpu.json

# ---- bench, memory
expect 0 '"device_name": ?"stmc host shim"' "bench --json" "$linear" bench --json --steps 4 --device cuda
expect 0 '"device_bytes": ?[0-9]{8}' "bench --json: memory" "$linear" bench --json --steps 4 --device cuda
expect 0 '"kernel": ?"c_forward"' "bench --json --profile" "$linear" bench --json --profile --steps 4 --device cuda
expect 0 '"gb_per_s"' "bench --json --profile: bytes" "$linear" bench --json --profile --steps 4 --device cuda
expect 0 'GB/s' "bench --profile" "$linear" bench --profile --steps 4 --device cuda
expect 0 '"op": ?"infer"' "bench --interactive" sh -c "printf 'train 2\ninfer 2\ntrain 3\n' | '$linear' bench --interactive --device cuda"
expect 3 'no room for the temporaries of train at 1000000 spots: 0.06 GB are needed.*use a smaller --batch' "out of memory" \
    env STM_SHIM_MEMORY=70000000 "$linear" bench --steps 2 --batch 1000000 --device cuda
expect 3 'no room for the workspace of cuBLASLt' "out of memory at the start" env STM_SHIM_MEMORY=1000000 "$linear" test --device cuda

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
