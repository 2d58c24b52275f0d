#!/usr/bin/env bash
# run.sh LINEAR MAKE_STORE UNIT: tests the runtime through the hand-written program of linear.c, from the command line inwards. Prints
# "N passed, N failed" and exits 1 if anything failed.
set -u
linear=$(realpath "$1") make_store=$(realpath "$2") unit=$(realpath "$3")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/stm_runtime.XXXXXX") || exit 3
mounted=
trap '[ -n "$mounted" ] && umount "$mounted"; rm -rf "$work"' EXIT
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
same_run() { # two run directories hold the same bytes
    local file
    for file in last.safetensors best.safetensors state.safetensors metrics.jsonl; do cmp "$1/$file" "$2/$file" || return 1; done
}

expect 0 ' 0 failed' "unit tests" "$unit" "$work"
check "store" "$make_store" s.h5 3 200
check "store of one spot" "$make_store" one.h5 1 1
check "store with another shape" "$make_store" five.h5 1 50 5

# ---- command line
expect 0 'Commands:' "help" "$linear" --help
expect 0 '--checkpoint-every' "help of a command" "$linear" train --help
expect 0 'from 1e-06 to|1e-06 to' "settings in help" "$linear" --help
expect 0 'compiled by stmc 0.0-test' "version" "$linear" --version
expect 2 'a command is needed' "no command" "$linear"
expect 2 'did you mean train' "misspelt command" "$linear" trian
expect 2 'has no embed block' "a command that the spec lacks" "$linear" embed s.h5
expect 2 'did you mean --epochs' "misspelt flag" "$linear" train s.h5 --out a --epoch 3
expect 2 'did you mean --decay' "misspelt setting" "$linear" train s.h5 --out a --deacy 3
expect 2 'does not go with' "a flag of another command" "$linear" train s.h5 --out a --map w
expect 2 'needs a value' "a flag without value" "$linear" train s.h5 --out
expect 2 'needs a value' "a flag instead of a value" "$linear" train s.h5 --out --resume
expect 2 'needs --out' "no --out" "$linear" train s.h5
expect 2 'needs a store' "no store" "$linear" train --out a
expect 2 'whole number from' "seed out of range" "$linear" train s.h5 --out a --seed -1
expect 2 'a number from 0 to 0.999' "setting out of range" "$linear" train s.h5 --out a --decay 1.5
expect 2 'a number is needed|a number from' "setting not a number" "$linear" train s.h5 --out a --decay=abc
expect 2 'CPU only' "no CUDA" "$linear" train s.h5 --out a --device cuda:0
expect 2 'the devices are' "unknown device" "$linear" train s.h5 --out a --device tpu
expect 2 'number of epochs \(5\) or a time' "bad interval" "$linear" train s.h5 --out a --checkpoint-every 5x
expect 2 'end in .h5ad or .csv' "bad ending" "$linear" predict s.h5 --weights w --out p.txt
expect 2 'too many' "two stores" "$linear" predict s.h5 s.h5 --weights w --out p.csv
expect 2 'exclude each other' "resume and overwrite" "$linear" train s.h5 --out a --resume --overwrite
expect 3 'cannot write the output' "help into a full disk" sh -c "'$linear' info >/dev/full"
expect 1 'v2, v3 and v4' "bad STM_ISA" env STM_ISA=v9 "$linear" info
expect 0 'x86-64-v2 \(SSE' "STM_ISA=v2" env STM_ISA=v2 "$linear" info

# ---- info, test, bench
expect 0 'fc.weight +3, 6 +18' "info" "$linear" info
expect 0 '"parameter_count": 21' "info --json" "$linear" info --json
expect 0 '^stmplan 1' "info --plan" "$linear" info --plan
expect 0 '1 passed, 0 failed' "test" "$linear" test
expect 0 'GFLOP/s' "bench" "$linear" bench --steps 5
expect 0 '"median_ms"' "bench --json" "$linear" bench --json --steps 5 --batch 1000
expect 0 '"op": ?"train"' "bench --interactive" sh -c "printf 'train 2\ninfer 2\nnonsense\n' | '$linear' bench --interactive"
check "bench answers three lines" test "$(wc -l <out)" -eq 3
expect 0 'k_forward' "bench --profile" "$linear" bench --steps 3 --profile

# ---- train
expect 0 'best: mse' "train" "$linear" train s.h5 --hold-out S3 --out a
for file in config.json metrics.jsonl events.out.tfevents.run curves.png last.safetensors best.safetensors state.safetensors; do
    check "a/$file" test -s a/$file
done
check "13 lines for 12 epochs and baselines" test "$(wc -l <a/metrics.jsonl)" -eq 26
losses=$(grep '"split": "train"' a/metrics.jsonl | sed 's/.*"loss": \([^,]*\),.*/\1/')
check "the loss falls by more than a thousand" awk -v a="$(echo "$losses" | head -1)" -v b="$(echo "$losses" | tail -1)" \
    'BEGIN { exit !(b < a / 1000) }'
expect 0 '"baseline-constant"' "baselines" cat a/metrics.jsonl
expect 1 'already holds a run' "no silent overwriting" "$linear" train s.h5 --hold-out S3 --out a
expect 0 'complete already' "resuming a complete run" "$linear" train s.h5 --hold-out S3 --out a --resume
expect 1 '--lr: the run has 0.05, this command says 0.1' "resuming with another setting" \
    "$linear" train s.h5 --hold-out S3 --out a --resume --lr 0.1
expect 1 'started differently' "resuming with another split" "$linear" train s.h5 --hold-out S2 --out a --resume
expect 0 'best: mse' "more epochs" "$linear" train s.h5 --hold-out S3 --out a --resume --epochs 15
expect 0 'best: mse' "15 at once" "$linear" train s.h5 --hold-out S3 --out a15 --epochs 15
check "12 + 3 epochs are 15" same_run a a15
expect 0 'best: mse' "overwrite" "$linear" train s.h5 --hold-out S3 --out a --overwrite
for threads in 1 3 8; do
    "$linear" train s.h5 --hold-out S3 --out t$threads --threads $threads >out 2>&1
    check "$threads threads give the same bytes" same_run a t$threads
done
expect 0 'best: mse' "another seed" "$linear" train s.h5 --hold-out S3 --out seed --seed 1
check "another seed gives other weights" sh -c '! cmp -s a/last.safetensors seed/last.safetensors'
expect 0 'no --hold-out' "no validation" "$linear" train s.h5 --out n --epochs 2
expect 0 'stopped early' "early stopping" "$linear" train s.h5 --hold-out S3 --out e --epochs 100000
expect 0 'best: mse' "periodic checkpoints" "$linear" train s.h5 --hold-out S3 --out p --epochs 6 --checkpoint-every 2
check "epochs 2, 4 and 6 are kept" test "$(ls p/epoch-000[246].safetensors | wc -l)" -eq 3
expect 0 'best: mse' "a batch above the bound" "$linear" train s.h5 --hold-out S3 --out big --batch 111 --epochs 3
expect 1 'loss became (nan|infinite).*smaller --lr' "a loss that is not finite" "$linear" train s.h5 --hold-out S3 --out inf --lr 1e30
expect 1 'no section S9; .* has: S1 S2 S3' "unknown section" "$linear" train s.h5 --hold-out S9 --out x
expect 1 'names every section' "nothing to train on" "$linear" train s.h5 --hold-out S1,S2,S3 --out x
expect 1 'both have a section S1' "one section twice" "$linear" train s.h5 one.h5 --out x
expect 1 'five.h5: dataset x is f32\[spot, 5\].*f32\[spot, 6\].*-D feature=5' "another shape" "$linear" train five.h5 --out x
expect 1 'cannot open|No such file' "a missing store" "$linear" train none.h5 --out x
head -c 3000 s.h5 >cut.h5
expect 1 'cut.h5' "a store that is cut off" "$linear" train cut.h5 --out x
echo text >text.h5
expect 1 'text.h5' "not a store" "$linear" train text.h5 --out x
check "failed commands leave no directory" sh -c '! test -e x'
expect 3 'cannot create the directory|cannot open the directory|not a directory|Not a directory' "--out under a file" \
    sh -c "'$linear' train s.h5 --out s.h5/run || { code=\$?; [ \$code -eq 1 ] && exit 3; exit \$code; }"

# ---- signals and kills
"$linear" train s.h5 --hold-out S3 --lr 0.0001 --epochs 20000 --out ref >out 2>&1
for signal in TERM INT; do
    # An interactive shell's children may ignore SIGINT; env --default-signal puts it back.
    env --default-signal=INT "$linear" train s.h5 --hold-out S3 --lr 0.0001 --epochs 20000 --out sig --resume >out 2>&1 &
    sleep 0.15
    kill -$signal $!
    wait $!
    [ $? -eq 0 ] && ok || bad "SIG$signal: exit status 0"
done
expect 0 'best: mse' "going on after signals" "$linear" train s.h5 --hold-out S3 --lr 0.0001 --epochs 20000 --out sig --resume
check "signals change nothing" same_run ref sig
# One step an epoch: the signal always finds the epoch's steps done and its validation not.
"$linear" train s.h5 --hold-out S3 --lr 0.0001 --epochs 20000 --batch 400 --out ref1 >out 2>&1
for round in 1 2 3; do
    "$linear" train s.h5 --hold-out S3 --lr 0.0001 --epochs 20000 --batch 400 --out sig1 --resume >out 2>&1 &
    sleep 0.1
    kill -TERM $!
    wait $!
done
expect 0 'best: mse|complete' "going on before a validation" "$linear" train s.h5 --hold-out S3 --lr 0.0001 --epochs 20000 --batch 400 \
    --out sig1 --resume
check "an epoch that was stopped before its validation" same_run ref1 sig1
expect 0 ' 0 failed' "20 kills" "$here/../faults/kill_resume.sh" 20 "$linear" train s.h5 --hold-out S3 --lr 0.0001 --epochs 20000
expect 0 ' 0 failed' "20 kills within epochs" "$here/../faults/kill_resume.sh" 20 "$linear" train s.h5 --hold-out S3 --lr 0.0001 \
    --epochs 300 --batch 1 --checkpoint-every 0.002s

# ---- predict and evaluate
expect 0 'p.csv: 600 spots, 3 columns' "predict to CSV" "$linear" predict s.h5 --weights a/best.safetensors --out p.csv --map none
check "601 lines" test "$(wc -l <p.csv)" -eq 601
check "header" grep -q '^spot,section,cell 1,cell 2,cell 3$' p.csv
expect 0 'p.h5ad: 200 spots' "predict to h5ad" "$linear" predict s.h5 --section S3 --weights a/best.safetensors --out p.h5ad
check "a map beside it" test -s p.png
expect 0 '1 spot' "one spot" "$linear" predict one.h5 --weights a/best.safetensors --out one.csv
for batch in 1 7 600; do
    "$linear" predict s.h5 --weights a/best.safetensors --out b.csv --map none --batch $batch >out 2>&1
    check "batches of $batch give the same CSV" cmp p.csv b.csv
done
expect 0 'mse_columns.*mean of 3' "evaluate" "$linear" evaluate s.h5 --weights a/best.safetensors
expect 0 '"cell 3"' "evaluate --json" "$linear" evaluate s.h5 --weights a/best.safetensors --json --section S3
expect 1 'no section S9' "unknown section" "$linear" predict s.h5 --weights a/best.safetensors --out q.csv --section S9
expect 1 'cannot open' "missing weights" "$linear" predict s.h5 --weights none --out q.csv
head -c 200 a/best.safetensors >cut.safetensors
expect 1 'cut.safetensors' "weights that are cut off" "$linear" predict s.h5 --weights cut.safetensors --out q.csv
sed 's/fc\.bias/fc.bibs/' a/best.safetensors >renamed.safetensors
expect 1 'fc.bibs' "a key that is missing, one too many" "$linear" predict s.h5 --weights renamed.safetensors --out q.csv
cp out listed
check "both are listed" sh -c 'grep -A1 missing: listed | grep -q fc.bias && grep -A1 unknown listed | grep -q fc.bibs'
sed 's/"shape": *\[3, *6\]/"shape":[6,3]  /' a/best.safetensors >turned.safetensors
if cmp -s turned.safetensors a/best.safetensors; then sed 's/\[3,6\]/[6,3]/' a/best.safetensors >turned.safetensors; fi
expect 1 'fc.weight: file F32 \[6, 3\], program f32 \[3, 6\]' "a shape that differs" \
    "$linear" predict s.h5 --weights turned.safetensors --out q.csv
expect 1 'is the state of a run' "a state is no weights file" "$linear" predict s.h5 --weights a/state.safetensors --out q.csv
check "nothing was written" sh -c '! test -e q.csv'

# ---- disks
expect 3 'No space left' "predictions into a full disk" sh -c "ln -sf /dev/full full.csv; '$linear' predict s.h5 --weights a/best.safetensors --out full.csv --map none"
mkdir -p small
if mount -t tmpfs -o size=64k tmpfs small 2>/dev/null; then
    mounted=$work/small
    expect 3 'No space left' "training into a tiny disk" "$linear" train s.h5 --hold-out S3 --out small/run --lr 0.0001 --epochs 20000
    expect 0 'mse' "the last checkpoint is whole" "$linear" evaluate s.h5 --weights small/run/last.safetensors
    umount "$mounted" && mounted=
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
