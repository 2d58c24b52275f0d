#!/usr/bin/env bash
# kill_resume.sh KILLS EXE train ARGS...: kills a training run with SIGKILL at random moments and resumes it, until KILLS kills have hit a
# living process; every run that completes must leave the same bytes as an undisturbed one. ARGS are those of `EXE train` without --out and
# --resume. RANDOM_SEED=N repeats a sequence. Prints "N passed, N failed".
set -u
kills=$1; exe=$2; shift 2
work=$(mktemp -d "${TMPDIR:-/tmp}/kill_resume.XXXXXX") || exit 3
trap 'rm -rf "$work"' EXIT
RANDOM=${RANDOM_SEED:-$$}
passed=0 failed=0
now() { date +%s%N; }

start=$(now)
if ! "$exe" "$@" --out "$work/reference" >"$work/reference.log" 2>&1; then
    echo "the undisturbed run failed:"; tail -5 "$work/reference.log"; echo "0 passed, 1 failed"; exit 1
fi
whole=$((($(now) - start) / 1000000)) # ms

compare() { # what was left by a completed run
    local file
    for file in last.safetensors best.safetensors state.safetensors metrics.jsonl; do
        if ! cmp -s "$work/reference/$file" "$work/run/$file"; then
            echo "after $hits kills: $file differs from the undisturbed run's"
            failed=$((failed + 1)); return
        fi
    done
    if [ -n "$(find "$work/run" -name '.*tmp-*')" ]; then
        echo "temporary files are left after the run completed"; failed=$((failed + 1)); return
    fi
    passed=$((passed + 1))
    echo "run with $here kills: the same bytes"
}

hits=0 here=0 attempts=0
while [ "$hits" -lt "$kills" ] && [ "$attempts" -lt $((kills * 20)) ]; do
    attempts=$((attempts + 1))
    "$exe" "$@" --out "$work/run" --resume >"$work/run.log" 2>&1 &
    pid=$!
    delay=$((RANDOM * (whole / 4 + 20) / 32768))
    sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    code=$?
    if [ "$code" -eq 137 ]; then
        hits=$((hits + 1)) here=$((here + 1))
    elif [ "$code" -ne 0 ]; then
        echo "resume failed after $hits kills:"; tail -3 "$work/run.log"; failed=$((failed + 1)); break
    else
        compare; rm -rf "$work/run"; here=0
    fi
done
if [ "$failed" -eq 0 ]; then
    if "$exe" "$@" --out "$work/run" --resume >"$work/run.log" 2>&1; then compare; else
        echo "the last resume failed:"; tail -3 "$work/run.log"; failed=$((failed + 1)); fi
fi
[ "$hits" -ge "$kills" ] || { echo "only $hits of $kills kills hit; use more epochs"; failed=$((failed + 1)); }
echo "$hits kills, undisturbed run $whole ms"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
