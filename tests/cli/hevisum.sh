#!/usr/bin/env bash
# hevisum.sh BUILD: the first example as a user runs it, briefly, on a made tissue; and its preparation of
# the real sections, where they are, against the numbers of their README. HER2ST=DIR says where they are.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
spec=$root/examples/hevisum/hevisum.stm
her2st=${HER2ST:-$root/../shared/data/her2st}

expect 0 'hevisum parameters 66[0-9]{5}, kernels' "compile for 8 types" "$stmc" "$spec" -D type=8 -o hevisum
check "smaller than 20 MB" test "$(stat -c %s hevisum)" -le 20000000
expect 0 'A2: [0-9]+ spots' "a made tissue" "$maketissue" tissue --sections 2 --spots 32 --width 1600 \
    --genes 80
a2=$(sed -n 's/^A2: \([0-9]*\) spots.*/\1/p' out)
expect 0 '2 sections, [0-9]+ spots, tiles of 78 x 78' "prepare" ./hevisum prepare --from tissue --out t.h5
./hevisum info --json >info.json 2>out
check "288 tensors, as in the original" test \
    "$(($(grep -c '"elements"' info.json) - $(grep -c '"weight": false' info.json)))" -eq 288
start=$(date +%s%N)
expect 0 'epoch 1/1 .*validation: ' "an epoch" ./hevisum train t.h5 --hold-out A2 --out run --epochs 1
echo "an epoch: $((($(date +%s%N) - start) / 1000000)) ms"
check "metrics of the spec" grep -q '"validation".*"spearman": .*"pearson": .*"mse": ' run/metrics.jsonl
expect 0 "p.csv: $a2 spots, 8 columns" "predict" \
    ./hevisum predict t.h5 --section A2 --weights run/best.safetensors --out p.csv
check "a row per spot" test "$(wc -l <p.csv)" -eq $((a2 + 1))
check "a map" test -s p.png
expect 0 "p.h5ad: $a2 spots" "predict to AnnData" \
    ./hevisum predict t.h5 --section A2 --weights run/best.safetensors --out p.h5ad
cp -r run killed
expect 0 'complete already' "resuming a complete run" ./hevisum train t.h5 --hold-out A2 --out killed \
    --resume --epochs 1
check "changes nothing" cmp run/last.safetensors killed/last.safetensors

# ---- from the start of the process to the first prediction. Measured, not judged: machines differ. Two
# spots, the fewest that tell how far an array step is in the picture.
cp -r tissue single
rm single/*/A2*
ids=$(sed -n '2p;$p' single/proportions/A1_minor.tsv | cut -f1 | tr '\n' ' ')
for table in single/proportions/A1_*.tsv; do sed -i '1p;2p;$p;d' "$table"; done
gzip -dc tissue/counts/A1.tsv.gz | awk -v ids="$ids" 'NR == 1 || index(" " ids, " " $1 " ")' |
    gzip -n >single/counts/A1.tsv.gz
expect 0 '1 section, 2 spots' "a store of two spots" ./hevisum prepare --from single --out two.h5
check "the others are left out" grep -q 'without counts left out' out
predict_two() { ./hevisum predict two.h5 --weights run/best.safetensors --out two.csv --map none; }
expect 0 'two.csv: 2 spots' "predict two spots" predict_two
times=$(for _ in 1 2 3 4 5 6 7; do
    start=$(date +%s%N)
    predict_two >out 2>&1
    echo $((($(date +%s%N) - start) / 1000))
done | sort -n | tr '\n' ' ')
echo "start to first prediction (two spots, written to a CSV file), of 7 in us: $times"
./hevisum predict t.h5 --section A1 --weights run/best.safetensors --out a1.csv --map none >out 2>&1
rounded() { awk -F, '{ printf "%s ", $1; for (i = 3; i <= NF; i++) printf "%.2f ", $i; print "" }' "$@" \
    | sort; }
# The spots of two.csv have other tiles than in t.h5 (two spots give another pitch): only their names agree.
check "ids are kept" test "$(tail -n +2 two.csv | cut -d, -f1 | sort | tr '\n' ' ')" = \
    "$(echo "$ids" | tr ' ' '\n' | grep . | sort | tr '\n' ' ')"
./hevisum predict t.h5 --section A1 --weights run/best.safetensors --out b1.csv --map none --batch 1 \
    >out 2>&1
check "alone, a spot is predicted as among others" test "$(rounded a1.csv)" = "$(rounded b1.csv)"

# ---- the real sections: spots per section and what is left out are those of the data's README
if [ -d "$her2st/counts" ]; then
    for level in minor subset; do
        types=$([ $level = minor ] && echo 22 || echo 41)
        expect 0 "kernels" "compile for $level" "$stmc" "$spec" -D level=$level -o her2
        expect 0 "her2.h5: 4 sections, 732 spots, tiles of 78 x 78" "prepare the real sections, $level" \
            ./her2 prepare --from "$her2st" --out her2.h5
        cp out notes
        check "$level: what is left out is named" grep -q 'section C4: .* 17x14 11x17 18x20' notes
        for left in C3:2 C4:3 C5:2; do
            check "$level: ${left#*:} spots of ${left%:*} have no counts" \
                grep -q "section ${left%:*}: ${left#*:} selected spots without counts left out" notes
        done
        refute "$level: C2 lacks none" grep -Eq 'C2.*without counts' notes
        for section in C2:187 C3:180 C4:184 C5:181; do
            [ $level = minor ] || break
            expect 0 "1 section, ${section#*:} spots" "spots of ${section%:*}" \
                ./her2 prepare --from "$her2st" --out one.h5 --section "${section%:*}"
        done
        ./her2 info --json | grep -A3 '"name": "type"' >axis
        check "$level: $types types" test "$(json_number extent axis)" = "$types"
    done
    # A section of one spot: the step follows from the picture's crop, and only if the spot lies where the crop says.
    mkdir -p alone/counts alone/spots alone/images
    zcat "$her2st/counts/C5.tsv.gz" | head -n 2 | gzip >alone/counts/C5.tsv.gz
    id=$(zcat alone/counts/C5.tsv.gz | tail -n 1 | cut -f1)
    awk -v x="${id%x*}" -v y="${id#*x}" 'NR == 1 || ($1 == x && $2 == y)' "$her2st/spots/C5_selection.tsv" \
        >alone/spots/C5_selection.tsv
    ln -s "$her2st/images/C5.jpg" alone/images/C5.jpg
    mkdir alone/proportions && head -n 2 "$her2st/proportions/C5_subset.tsv" >alone/proportions/C5_subset.tsv
    expect 0 "1 section, 1 spot, tiles" "a section of one spot" ./her2 prepare --from alone --out alone.h5
    sed -i '2s/\(\t[0-9.]*\)\t\([0-9]*\)\(\.[0-9]*\)\?\t1$/\1\t99.5\t1/' alone/spots/C5_selection.tsv
    expect 1 "one array position" "one spot that lies elsewhere" ./her2 prepare --from alone --out alone.h5
else
    skip "preparing the real sections" "there is no $her2st/counts (HER2ST=DIR says where they are)"
fi
finish
