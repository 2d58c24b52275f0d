#!/usr/bin/env bash
# tissue.sh BUILD: a small net on a small made tissue, from pictures to predictions: what each command
# writes, that runs repeat, and that what is said is what happened.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# last_value KEY SPLIT RUN: of the last line with that split; all_values: of every line
last_value() { json_number "$1" <(grep "\"split\": \"$2\"" "$3/metrics.jsonl" | tail -1); }
all_values() { grep "\"split\": \"$2\"" "$3/metrics.jsonl" | sed "s/.*\"$1\": \([^,}]*\).*/\1/"; }
same_weights() { cmp "$1/last.safetensors" "$2/last.safetensors" && cmp "$1/best.safetensors" \
    "$2/best.safetensors"; }
near() { # near TOLERANCE A.csv B.csv: same text, numbers within TOLERANCE of each other
    awk -F, -v t="$1" 'NR == FNR { line[FNR] = $0; rows = FNR; next }
        { n = split(line[FNR], a, ","); if (n != NF) bad = 1
          for (i = 1; i <= NF; i++) { d = a[i] - $i; if (d < 0) d = -d
              if (FNR > 1 && i > 2 && ($i a[i]) ~ /[nN]/) bad = 1 # nan, inf
              if (i > 2 && FNR > 1 ? !(d <= t * (1 + ($i < 0 ? -$i : $i))) : a[i] != $i) bad = 1 } }
        END { exit bad || FNR != rows || rows < 2 }' "$2" "$3"
}

expect 0 'tiny parameters 256' "compile" "$stmc" "$here/tiny.stm" -o tiny
cp out summary
expect 0 'A3: [0-9]+ spots' "a made tissue" "$maketissue" tissue --sections 3 --spots 40 --width 500 \
    --genes 80
spots=$(sed -n 's/^A[0-9]: \([0-9]*\) spots.*/\1/p' out | awk '{ n += $1 } END { print n }')
a3=$(sed -n 's/^A3: \([0-9]*\) spots.*/\1/p' out)

# ---- the file itself
refute "needs only the C library" sh -c \
    "ldd tiny | grep -Ev 'linux-vdso|lib(c|m|pthread|dl)\.so|ld-linux' | grep -q '=>'"
check "smaller than 20 MB" test "$(stat -c %s tiny)" -le 20000000
for setting in lr decay; do
    for command in "" train prepare evaluate predict bench; do
        # shellcheck disable=SC2086
        ./tiny $command --help >out 2>&1
        check "'$command --help' has --$setting" grep -q -- "--$setting X " out
    done
    check "--help has the range of $setting" grep -Eq -- "\(default [0-9.e-]+, [0-9.e-]+ to 1\)" out
done
expect 0 'learning rate of the first epoch' "--help explains settings" ./tiny train --help

# ---- prepare, info
expect 0 "t.h5: 3 sections, $spots spots, tiles of 12 x 12" "prepare" ./tiny prepare --from tissue --out \
    t.h5
./tiny prepare --from tissue --out again.h5 >out 2>&1
check "two preparations give the same bytes" cmp t.h5 again.h5
expect 0 "1 section, $a3 spots" "prepare of one section" ./tiny prepare --from tissue --out one.h5 \
    --section A3
expect 0 'conv.weight +4, 3, 3, 3 +108' "info" ./tiny info
./tiny info --json >info.json 2>out
check "info --json is JSON" is_json info.json
expect 1 'give one of them' "info takes one form of output" ./tiny info --json --plan
check "info counts the parameters" grep -q '"parameter_count": 256' info.json

# ---- train
expect 0 'best: spearman' "train" ./tiny train t.h5 --hold-out A3 --out a --threads 1
for file in config.json metrics.jsonl events.out.tfevents.run curves.png last.safetensors \
    best.safetensors; do
    check "the run has $file" test -s a/$file
done
check "curves are a PNG" sh -c "head -c 8 a/curves.png | od -An -tx1 | grep -q '89 50 4e 47 0d 0a 1a 0a'"
check "every line of metrics.jsonl is JSON" is_json_lines a/metrics.jsonl
check "config.json is JSON" is_json a/config.json
for key in step epoch split; do
    check "every line of metrics.jsonl has $key" test \
        "$(grep -c "\"$key\": " a/metrics.jsonl)" -eq "$(wc -l <a/metrics.jsonl)"
done
check "validation lines have every metric" test \
    "$(grep '"validation"' a/metrics.jsonl | grep '"loss"' | grep '"spearman"' | grep -c '"mse"')" -eq 12
check "12 epochs of 8 steps" grep -q '"step": 96, "epoch": 12, "split": "validation"' a/metrics.jsonl
first=$(all_values loss train a | head -1)
check "the loss falls to a quarter" holds "$(last_value loss train a) < $first / 4"
names=$(head -c 2000 a/best.safetensors | grep -ao '"[a-z0-9_]*\.[a-z0-9_]*": {"dtype' | cut -d\" -f2 |
    grep -v tracked | sort | tr '\n' ' ')
check "weights are named as in the spec" test \
    "$names" = "bn.bias bn.running_mean bn.running_var bn.weight conv.bias conv.weight fc.bias fc.weight "

# ---- evaluate
expect 0 "^$a3 spots" "evaluate" ./tiny evaluate t.h5 --section A3 --weights a/best.safetensors
./tiny evaluate t.h5 --section A3 --weights a/best.safetensors --json >best.json 2>out
./tiny evaluate t.h5 --section A3 --weights a/last.safetensors --json >last.json 2>out
check "evaluate --json is JSON" is_json best.json
most=$(all_values spearman validation a | sort -g | tail -1)
check "the best epoch's weights are kept" holds "($(json_number spearman best.json) - $most) ^ 2 < 1e-12"
check "the last epoch's weights are kept" holds \
    "($(json_number spearman last.json) - $(last_value spearman validation a)) ^ 2 < 1e-12"
check "the monitor is not the loss: best and last differ" test "$most" != \
    "$(last_value spearman validation a)"

# ---- predict
expect 0 "p.csv: $a3 spots, 8 columns" "predict to CSV" \
    ./tiny predict t.h5 --section A3 --weights a/best.safetensors --out p.csv --threads 1
check "a map beside it" sh -c "head -c 8 p.png | od -An -tx1 | grep -q '89 50 4e 47'"
check "the CSV has a header" test "$(head -1 p.csv)" = \
    "spot,section,$(head -1 tissue/proportions/A3_minor.tsv | sed 's/^\t//; s/\t/,/g')"
check "and a row per spot" test "$(wc -l <p.csv)" -eq $((a3 + 1))
check "of eight numbers each" awk -F, 'NR > 1 && (NF != 10 || $3 == "" || $10 + 0 != $10) { exit 1 }' p.csv
check "with the spots' ids" test "$(tail -n +2 p.csv | cut -d, -f1 | sort | tr '\n' ' ')" = \
    "$(tail -n +2 tissue/proportions/A3_minor.tsv | cut -f1 | sort | tr '\n' ' ')"
expect 0 "q.csv: $spots spots" "predict every section" ./tiny predict t.h5 --weights a/best.safetensors \
    --out q.csv
for section in A1 A2 A3; do check "a map of $section" test -s q.$section.png; done
check "sections do not disturb each other" test "$(grep ',A3,' q.csv)" = "$(tail -n +2 p.csv)"
./tiny predict t.h5 --section A3 --weights a/best.safetensors --out p2.csv --threads 2 --map none >out 2>&1
check "2 threads predict the same" cmp p.csv p2.csv
absent "--map none draws none" p2.png
expect 2 'map.jpg: the name must end in .png' "a map that is no PNG" \
    ./tiny predict t.h5 --weights a/best.safetensors --out x.csv --map map.jpg
./tiny predict t.h5 --section A3 --weights a/best.safetensors --out p3.csv --batch 5 --map none >out 2>&1
check "other batches predict nearly the same" near 1e-5 p.csv p3.csv
expect 0 "p.h5ad: $a3 spots" "predict to AnnData" \
    ./tiny predict t.h5 --section A3 --weights a/best.safetensors --out p.h5ad --map here.png
check "the map goes where it is told" test -s here.png
check "it is an HDF5 file" sh -c "head -c 8 p.h5ad | od -An -c | grep -q 'H   D   F'"
cp p.h5ad first.h5ad
./tiny predict t.h5 --section A3 --weights a/best.safetensors --out p.h5ad --map none >out 2>&1
check "two predictions give the same AnnData" cmp p.h5ad first.h5ad
if [ -x "$build/bin/stmdata" ]; then
    expect 0 "\"?obs\"?:? *$a3" "stmdata sees the spots" "$build/bin/stmdata" inspect p.h5ad --json
    check "stmdata inspect --json is JSON" is_json out
else
    skip "stmdata inspects the predictions" "$build/bin/stmdata is not built"
fi

# ---- the same again, and not the same
./tiny train t.h5 --hold-out A3 --out b --threads 2 >out 2>&1
check "1 and 2 threads train to the same bytes" same_weights a b
check "with the same metrics" cmp a/metrics.jsonl b/metrics.jsonl
./tiny train t.h5 --hold-out A3 --out s --seed 7 >out 2>&1
refute "another seed gives other weights" cmp a/last.safetensors s/last.safetensors
./tiny train t.h5 --hold-out A3 --out s2 --seed 7 >out 2>&1
check "which repeat" same_weights s s2
./tiny train t.h5 --hold-out A3 --out r --lr 1e-3 >out 2>&1
refute "another rate gives other weights" cmp a/last.safetensors r/last.safetensors
for isa in v2 v3 v4; do
    if STM_ISA=$isa ./tiny info 2>&1 | grep -q 'this CPU only has'; then
        skip "STM_ISA=$isa" "this CPU does not have it"
        continue
    fi
    expect 0 "p_$isa.csv" "predict with STM_ISA=$isa" env STM_ISA=$isa \
        ./tiny predict t.h5 --section A3 --weights a/best.safetensors --out p_$isa.csv --map none
    check "STM_ISA=$isa predicts the same to 1e-3" near 1e-3 p_$isa.csv p.csv
    expect 0 'best:' "train with STM_ISA=$isa" env STM_ISA=$isa ./tiny train t.h5 --hold-out A3 --out \
        i_$isa --epochs 2
    check "STM_ISA=$isa trains nearly the same" holds \
        "($(last_value loss train i_$isa) / $(all_values loss train a | sed -n 2p) - 1) ^ 2 < 1e-6"
done

# ---- lengths
expect 0 'stopped early' "early stopping" ./tiny train t.h5 --hold-out A3 --out e --epochs 5000
epochs=$(all_values loss train e | wc -l)
peak=$(all_values spearman validation e | awk '$1 > most || NR == 1 { most = $1; at = NR } END { print at }')
check "it stops 5 epochs after the best" test "$epochs" -eq $((peak + 5))
expect 0 'best:' "--epochs" ./tiny train t.h5 --hold-out A3 --out short --epochs 3
check "--epochs 3 trains 3" test "$(all_values loss train short | wc -l)" -eq 3
expect 0 'best:' "--epochs 12 --resume" ./tiny train t.h5 --hold-out A3 --out short --epochs 12 --resume
check "3 and 9 epochs are 12" same_weights a short

# ---- refused
expect 2 '--lr 2: a number from 1e-0?6 to 1' "a setting above its range" ./tiny train t.h5 --out x --lr 2
expect 2 '--decay -1: a number from 0 to 1' "a setting below its range" ./tiny train t.h5 --out x --decay -1
expect 2 '--epochs 0: a whole number from 1 to' "no epochs" ./tiny train t.h5 --out x --epochs 0
expect 2 '--lr nan' "a setting that is no number" ./tiny train t.h5 --out x --lr nan
expect 2 'did you mean --decay' "a misspelt setting" ./tiny train t.h5 --out x --decai 0.1
expect 2 'did you mean --hold-out' "a misspelt flag" ./tiny train t.h5 --out x --holdout A3
expect 2 'did you mean evaluate' "a misspelt command" ./tiny evalute t.h5
expect 2 'did you mean|--side|no flag' "an option when running" ./tiny train t.h5 --out x --side 24
expect 2 'CPU only' "--device cuda" ./tiny train t.h5 --out x --device cuda
expect 1 'no section B1; t.h5 has: A1 A2 A3' "an unknown section" ./tiny train t.h5 --out x --hold-out B1
absent "what is refused writes nothing" x x.csv

# ---- bench, and memory: what is printed is what is taken
./tiny bench --json --steps 5 >bench.json 2>out
check "bench --json is JSON" is_json bench.json
check "bench measures" holds "$(json_number median_ms bench.json) > 0 && $(json_number flops bench.json) > 0"
planned=$(json_number train info.json)
check "the compiler's summary says the same as info" grep -q \
    "planned peak $(awk "BEGIN { printf \"%.2f\", $planned / 1e6 }") MB (train)" summary
./tiny bench --json --steps 1 --batch 20000 >big.json 2>out
planned=$(grep -A10 '"train"' big.json | grep '"bytes"' | tr -dc 0-9)
mkfifo asks
./tiny bench --interactive --batch 20000 <asks >answers 2>out &
bench=$!
exec 9>asks
echo 'train 1' >&9
for _ in $(seq 100); do [ -s answers ] && break; sleep 0.1; done
taken=$(sed -n 's/^\([0-9a-f]*\)-\([0-9a-f]*\) rw-p 00000000 00:00 0 *$/\1 \2/p' "/proc/$bench/maps" |
    while read -r from to; do echo $((0x$to - 0x$from)); done | sort -n | tail -1)
resident=$(awk '/^VmHWM/ { print $2 * 1024 }' "/proc/$bench/status")
exec 9>&-
wait "$bench"
echo "20000 spots: planned $planned B, mapped $taken B, resident at most $resident B of the whole process"
check "the memory of a step is what is planned, to 2 %" holds \
    "$taken >= $planned && $taken <= $planned * 1.02"
check "the process takes little more than step, inputs and itself" holds \
    "$resident <= $planned * 1.02 + 20000 * (3 * 12 * 12 + 4 * 8) * 2 + 30e6"
finish
