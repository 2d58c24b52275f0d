#!/usr/bin/env bash
# run.sh DIR [RESULTS]: correctness and speed on the GPU of this machine, with what build.sh left in DIR. Needs a driver, the
# CUDA libraries and a shell; the comparison with PyTorch needs a python3 that has it. Takes less than 8 minutes: parts that
# would start later than that are left out and said to be. Prints tables; RESULTS (default DIR/results) keeps every output and
# results.json, one object with a key for each part. Exit status 1 when something is wrong, 77 without a GPU.
set -u
dir=$(realpath "$1")
results=${2:-$dir/results}
mkdir -p "$results"
results=$(realpath "$results")
begin=$SECONDS limit=${STM_GPU_SECONDS:-470}
bad=0
json=()
cd "$results" || exit 3

part() { # part NAME SECONDS: is there time for it?
    if [ $((SECONDS - begin + $2)) -gt "$limit" ]; then
        printf '\n== %s: left out, it would end after the limit of %d s\n' "$1" "$limit"
        json+=("\"$1\": \"left out\"")
        return 1
    fi
    printf '\n== %s (at %d s)\n' "$1" $((SECONDS - begin))
}
fail() { # fail TEXT
    bad=$((bad + 1))
    echo "FAILED $1"
}
number() { # number FILE KEY: the first number of that key in JSON that is written a key a line
    sed -n "s/^ *\"$2\": \(-\{0,1\}[0-9.e+-]*\),\{0,1\}$/\1/p" "$1" | head -n 1
}

# ---- the device
hevisum=$dir/hevisum/hevisum
"$hevisum" info --json >info.json || fail "info"
sed -n '/"devices"/,/\]/p' info.json
if ! grep -q '"usable": true' info.json; then
    "$hevisum" info | grep -A9 GPU
    echo "no usable GPU: skipped"
    exit 77
fi
nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,power.limit --format=csv,noheader 2>/dev/null | tee smi.txt
json+=("\"device\": \"$(sed -n '/"devices"/,/\]/s/.*"name": "\([^"]*\)".*/\1/p' info.json | head -n 1)\"")
json+=("\"driver\": \"$(cut -d, -f2 smi.txt 2>/dev/null | head -n 1 | tr -d ' ')\"")

# ---- correctness
if part tests 90; then # values, gradients against central differences, structure: f64
    passed=0 failed=0
    for exe in "$dir"/tests/*; do
        name=$(basename "$exe")
        timeout 60 "$exe" test --device cuda >"tests.$name.txt" 2>&1
        status=$?
        line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "tests.$name.txt" | tail -n 1)
        [ $status = 0 ] && [ -n "$line" ] || { fail "$name: ${line:-status $status}"; grep -v '^passed' "tests.$name.txt" | head -n 5; }
        set -- ${line:-0 x 1}
        passed=$((passed + $1)) failed=$((failed + $3))
    done
    echo "test blocks of the standard library, the systems and the workbenches: $passed passed, $failed failed"
    json+=("\"tests\": {\"passed\": $passed, \"failed\": $failed}")
fi

losses() { sed -n 's/.*"split": "train", "loss": \([0-9.e+-]*\),.*/\1/p' "$1/metrics.jsonl"; }
train() { "$hevisum" train "$dir/hevisum/tissue.h5" --hold-out A2 --out "$1" --epochs 3 --seed 7 --device "$2" >"train.$1.txt" 2>&1 ||
    { fail "train on $2"; tail -n 3 "train.$1.txt"; }; }
if part parity 60; then
    rm -rf cpu one two
    train cpu cpu
    train one cuda
    train two cuda
    paste -d' ' <(losses cpu) <(losses one) | awk '
        { d = ($1 - $2) / $1; if (d < 0) d = -d; if (d > most) most = d; n++ }
        END { printf "HEVisum, f32: training losses of %d epochs differ from the CPU by at most %.2g of their value\n", n, most
              exit !(n == 3 && most < 2e-3) }' | tee parity.txt
    [ "${PIPESTATUS[1]}" = 0 ] || fail "training losses of CPU and GPU differ"
    if cmp -s one/last.safetensors two/last.safetensors; then echo "two runs: the same weights, bit for bit"
    else fail "two runs on the GPU differ"; fi
    for d in cpu cuda; do
        "$hevisum" predict "$dir/hevisum/tissue.h5" --section A2 --weights cpu/best.safetensors --out "$d.csv" --map none --device $d \
            >"predict.$d.txt" 2>&1 || fail "predict on $d"
    done
    paste -d, cpu.csv cuda.csv | awk -F, 'NR > 1 { for (i = 4; i <= NF / 2; i++) { d = $i - $(i + NF / 2); if (d < 0) d = -d
        if (d > most) most = d; n++ } } END { printf "predictions of equal weights differ by at most %.2g (%d numbers)\n", most, n
        exit !(n > 0 && most < 2e-3) }' | tee -a parity.txt
    [ "${PIPESTATUS[1]}" = 0 ] || fail "predictions of CPU and GPU differ"
    json+=("\"parity\": \"$(tr '\n' ';' <parity.txt)\"")
fi

if part sanitizer 60; then
    tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
    if [ -z "$tool" ]; then echo "compute-sanitizer is not here"; json+=('"sanitizer": "absent"')
    else
        for check in memcheck racecheck; do
            timeout 45 "$tool" --tool $check --error-exitcode 9 "$dir/tests/reduce" test --device cuda >"$check.txt" 2>&1
            case $? in
            0) echo "$check: $(tail -n 1 "$check.txt")" ;;
            124) echo "$check: not finished in 45 s" ;;
            *) fail "$check"; tail -n 5 "$check.txt" ;;
            esac
        done
        json+=("\"sanitizer\": \"$(tail -qn 1 memcheck.txt racecheck.txt | tr '\n"' '; ')\"")
    fi
fi

# ---- speed
milliseconds() { # of a command, the best of three
    local best=999999 i start now
    for i in 1 2 3; do
        start=$(date +%s%N)
        "$@" >/dev/null 2>&1
        now=$((($(date +%s%N) - start) / 1000000))
        [ $now -lt $best ] && best=$now
    done
    echo $best
}
if part start 20; then
    first=$(milliseconds "$dir/hevisum/bench.tf32" bench --device cuda --batch 32 --steps 1)
    driver=$(milliseconds "$dir/hevisum/bench.tf32" info)
    echo "process start to the end of a first step of each job: $first ms, of which $driver ms until the driver has listed its devices"
    json+=("\"start\": {\"first_step_ms\": $first, \"driver_ms\": $driver}")
fi

if part kernels 60; then # each kernel's share of the copy bandwidth, or its rate of operations
    : >kernels.txt
    for exe in "$dir"/bench/*; do
        name=$(basename "$exe")
        timeout 30 "$exe" bench --device cuda --profile --json --steps 20 >"bench.$name.json" 2>"bench.$name.txt" ||
            { fail "bench of $name"; tail -n 2 "bench.$name.txt"; continue; }
        copy=$(number "bench.$name.json" copy_gb_per_s)
        awk -v name="$name" -v copy="${copy:-1}" '
            /"kernel":/ { gsub(/[",]/, ""); kernel = $2 } /"origin":/ { gsub(/[",]/, ""); origin = $2 == "" ? "-" : $2 }
            /"calls":/ { calls = $2 + 0 } /"ms":/ { ms = $2 + 0 } /"bytes_a_call":/ { bytes = $2 + 0 } /"gb_per_s":/ { rate = $2 + 0 }
            /"gflops":/ { if (calls > 0 && ms / calls > 0.003)
                printf "%-20s %-24s %-14s %9.4f ms %9.1f MB %7.0f GB/s %5.1f %% of copies %8.2f TFLOP/s\n", name, kernel, origin,
                    ms / calls, bytes / 1e6, rate, 100 * rate / copy, ($2 + 0) / 1e3 }' "bench.$name.json" >>kernels.txt
    done
    cat kernels.txt
    awk '$5 >= 64 && $10 < 80 && $12 < 5 { print "below 80 % of the copy bandwidth:", $1, $2 }' kernels.txt
    rows=$(awk '{ printf "%s{\"bench\": \"%s\", \"kernel\": \"%s\", \"text\": \"%s\"}", (NR == 1 ? "" : ", "), $1, $2, $0 }' kernels.txt)
    json+=("\"kernels\": [$rows]")
fi

python=${PYTHON:-python3}
if "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    if part convolutions 45; then # against cuDNN, shape by shape: forward and both gradients
        for precision in tf32 bf16; do
            "$python" "$dir/scripts/kernels_bench.py" --precision $precision >"torch.kernels.$precision.json" || { fail "PyTorch's kernels"; continue; }
            "$python" "$dir/scripts/convolutions.py" "bench.convolution.$precision.json" "torch.kernels.$precision.json" |
                tee "convolutions.$precision.txt"
            json+=("\"convolutions.$precision\": $(tail -n 1 "convolutions.$precision.txt")")
        done
    fi
    for precision in tf32 bf16; do
        for batch in 32 256; do
            for peer in compiled eager; do
                part "hevisum.$precision.$batch.$peer" $([ $peer = compiled ] && echo 60 || echo 15) || continue
                "$python" "$dir/scripts/hevisum.py" "$dir/hevisum/bench.$precision" --device cuda --precision $precision --batch $batch \
                    --peer $peer --channels-last --rounds 5 --steps 20 --jobs train >"hevisum.$precision.$batch.$peer.txt" 2>&1 ||
                    { fail "HEVisum against PyTorch"; tail -n 3 "hevisum.$precision.$batch.$peer.txt"; continue; }
                cat "hevisum.$precision.$batch.$peer.txt"
                json+=("\"hevisum.$precision.$batch.$peer\": \"$(grep 'ratio stmc' "hevisum.$precision.$batch.$peer.txt" | tr -s ' ' | head -n 1)\"")
            done
        done
    done
else
    echo "no PyTorch with CUDA for $python: the comparison is left out"
fi

{ echo '{'; printf '%s,\n' "${json[@]}"; echo "\"seconds\": $((SECONDS - begin)), \"wrong\": $bad"; echo '}'; } >results.json
printf '\n%d s, %s; everything is in %s\n' $((SECONDS - begin)) "$([ $bad = 0 ] && echo 'all right' || echo "$bad wrong")" "$results"
[ $bad = 0 ]
