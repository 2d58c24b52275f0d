#!/usr/bin/env bash
# prepare.sh BUILD: from original data of several layouts to a store, and what reads it: a made tissue as legacy ST, as
# Space Ranger writes it and as AnnData, which must give the same numbers; numbers against those that awk takes from
# the text; splits; adding sections; what is refused. DATA=DIR says where the real samples are.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
data=${DATA:-$root/../shared/data}
stmdata=$build/bin/stmdata

# ---- data
# npy FILE ROWS: f32[ROWS, 4] in which row r holds r+1, 2(r+1), 3(r+1), 4(r+1)
npy() {
    local header="{'descr': '<f4', 'fortran_order': False, 'shape': ($2, 4), }"
    printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "$header" >"$1"
    # shellcheck disable=SC2059
    printf "$(awk -v rows="$2" 'BEGIN {
        for (i = 0; i < 4 * rows; i++) {
            v = (int(i / 4) + 1) * (i % 4 + 1)
            for (e = 0; v >= 2 ^ (e + 1); e++);
            bits = (127 + e) * 2 ^ 23 + int((v / 2 ^ e - 1) * 2 ^ 23)
            for (b = 0; b < 4; b++) { printf "\\%03o", bits % 256; bits = int(bits / 256) }
        } }')" >>"$1"
}
# outs SECTION DIR: the section as Space Ranger writes it, the matrix as text
outs() {
    local from=tissue to=$2
    mkdir -p "$to/filtered_feature_bc_matrix" "$to/spatial" "$to/proportions"
    gzip -dc "$from/counts/$1.tsv.gz" | awk -F'\t' -v to="$to/filtered_feature_bc_matrix" '
        NR == 1 { genes = NF - 1
            for (i = 2; i <= NF; i++) print "ENS" i "\t" $i "\tGene Expression" >(to "/features.tsv")
            next }
        { print $1 >(to "/barcodes.tsv")
            for (i = 2; i <= NF; i++) if ($i) line[++n] = (i - 1) " " (NR - 1) " " $i }
        END { f = to "/matrix.mtx"; print "%%MatrixMarket matrix coordinate integer general" >f
              print genes, NR - 1, n >f; for (k = 1; k <= n; k++) print line[k] >f }'
    # barcode, in tissue, row, column, y, x
    awk 'BEGIN { print "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres" }
        NR > 1 { print $1 "x" $2 "," $7 "," $2 "," $1 "," $6 "," $5 }' "$from/spots/$1_selection.tsv" \
        >"$to/spatial/tissue_positions.csv"
    echo '{"spot_diameter_fullres": 16.0, "tissue_hires_scalef": 1.0, "tissue_lowres_scalef": 0.3,
        "fiducial_diameter_fullres": 25.0}' >"$to/spatial/scalefactors_json.json"
}
rows_of() { # rows_of SECTION FILE.csv: its rows without the columns spot and section, in the order of spots' names
    awk -F, -v s="$1" '$2 == s' "$2" | sort | cut -d, -f1,3-
}
expect 0 'A3: [0-9]+ spots' "a made tissue" "$maketissue" tissue --sections 3 --spots 40 --width 500 --genes 80
total=$(sed -n 's/^A[0-9]: \([0-9]*\) spots.*/\1/p' out | awk '{ n += $1 } END { print n }')
declare -A spots
for s in A1 A2 A3; do
    spots[$s]=$(($(gzip -dc tissue/counts/$s.tsv.gz | wc -l) - 1))
    mkdir -p tissue/features && npy tissue/features/$s.npy "${spots[$s]}"
done
expect 0 'probe parameters 30' "compile" "$stmc" "$here/probe.stm" -o probe

expect 0 'tiles +tile\(size = 12, radius = 8, edge = edge\)' "info tells the prepare block" ./probe info
check "with tables by name" grep -Eq '^  orders +rank\(table = genes\)' out

# ---- legacy ST: what is said
expect 0 "t.h5: 3 sections, $total spots, tiles of 12 x 12 pixels, 80 genes" "prepare" \
    ./probe prepare --from tissue --out t.h5
cp out said
check "tables with their columns" grep -Eq '^  table +genes +6 columns' said
check "ranks of an expression table" grep -Eq '^  table +genes_rank +6 columns' said
check "tables keep the source's name" grep -Eq '^  table +minor +8 columns' said
check "ranks of a table" grep -Eq '^  table +minor_rank +8 columns' said
refute "others are not taken" grep -q major said
check "features" grep -Eq '^  features +encoded +4 wide' said
check "neighbours" grep -Eq '^  graph +near +4\.00 neighbours a spot, at most 4$' said
check "neighbours within a radius" grep -Eq '^  graph +around +[0-9.]+ neighbours a spot, at most [4-8]' said
check "a split by section" grep -Eq "^  split +folds +train [0-9]+, validation [0-9]+, test 0" said
check "a split by spot" grep -Eq "^  split +mixed +train [0-9]+, validation [0-9]+, test [0-9]+" said
check "its parts are all spots" test "$(sed -n 's/^  split *mixed *//p' said | tr -dc '0-9\n ' |
    awk '{ print $1 + $2 + $3 }')" -eq "$total"
./probe prepare --from tissue --out again.h5 --threads 1 >out 2>&1
check "other threads, the same bytes" cmp t.h5 again.h5
[ -x "$stmdata" ] && expect 0 '' "stmdata check" "$stmdata" check t.h5

# ---- training on a split, and what the log says
expect 0 'the store has splits that --split could use: folds \(train [0-9]+, validation [0-9]+, test 0\), mixed' \
    "a run without --split says what there is" ./probe train t.h5 --out none --epochs 1
expect 0 "training on ([0-9]+) spots of 3 sections, validating on [0-9]+, by the split mixed \([0-9]+ are in neither" \
    "train on a split" ./probe train t.h5 --split mixed --out run
refute "and then not" grep -q 'could use' out
train=$(sed -n 's/^  split *mixed *train \([0-9]*\),.*/\1/p' said)
valid=$(sed -n 's/^  split *mixed .*validation \([0-9]*\),.*/\1/p' said)
test=$(sed -n 's/^  split *mixed .*test \([0-9]*\).*/\1/p' said)
tr -d ' \n' <run/config.json >config
check "config.json is JSON" is_json run/config.json
check "config.json has the split" grep -q \
    "\"split\":{\"name\":\"mixed\",\"train\":$train,\"validation\":$valid,\"neither\":$test}" config
check "and the sections' rows" grep -q '"training":{"A1":[0-9]*,"A2":[0-9]*,"A3":[0-9]*},"validation":{"A' config
check "validation is logged" grep -q '"validation"' run/metrics.jsonl
expect 0 'complete already' "resume" ./probe train t.h5 --split mixed --out run --resume
expect 1 '--split: the run has mixed \(train .*this command says nothing' "resume without the split" \
    ./probe train t.h5 --out run --resume
expect 1 '--split: .*this command says folds' "resume on another split" \
    ./probe train t.h5 --split folds --out run --resume
./probe prepare --from tissue --out other.h5 --share 0.6 >out 2>&1
expect 0 'by the split folds' "train on sections of a split" ./probe train t.h5 --split folds --out folds
expect 1 '--split: the run has folds' "the same name with other rows" \
    ./probe train other.h5 --split folds --out folds --resume
expect 2 'exclude each other' "--split and --hold-out" ./probe train t.h5 --split mixed --hold-out A1 --out x
expect 2 'give --split mixed' "train takes no part" ./probe train t.h5 --split mixed:train --out x
parts="train $train, validation $valid, test $test"
expect 1 "no split mixd; its splits are: folds \(train [0-9]+, validation [0-9]+, test 0\), mixed \($parts\)" \
    "an unknown split" ./probe train t.h5 --split mixd --out x
absent "what is refused writes nothing" x
weights=run/best.safetensors
expect 0 "^$test spots" "evaluate a part" ./probe evaluate t.h5 --split mixed:test --weights $weights
expect 0 "\"rows\": $valid" "evaluate a part as JSON" \
    ./probe evaluate t.h5 --split mixed:validation --weights $weights --json
check "it is JSON and has the split" sh -c "grep -q '\"split\": \"mixed:validation\"' out"
expect 0 "p.csv: $test spots" "predict a part" \
    ./probe predict t.h5 --split mixed:test --weights $weights --out p.csv --map none
expect 1 'no part mixed:tset' "an unknown part" \
    ./probe predict t.h5 --split mixed:tset --weights $weights --out x.csv
expect 1 'no spot of the store is in this part' "an empty part" \
    ./probe evaluate t.h5 --split folds:test --weights $weights
expect 2 'mixed:test' "predict needs a part" ./probe predict t.h5 --split mixed --weights $weights --out x.csv
./probe predict t.h5 --section A2 --split mixed:train --weights $weights --out q.csv --map none >out 2>&1
check "a part of a section" awk -F, 'NR > 1 && $2 != "A2" { exit 1 } END { exit NR < 2 }' q.csv
a2=$(tail -n +2 q.csv | wc -l)
check "is what config.json says" grep -q "\"training\":{\"A1\":[0-9]*,\"A2\":$a2," config

# ---- numbers, against the text
expect 0 "l.csv: $total spots" "what the store holds" ./probe predict t.h5 --weights $weights --out l.csv --map none
for s in A1 A2 A3; do # SECTION:SPOT GENE COUNT
    gzip -dc tissue/counts/$s.tsv.gz | awk -F'\t' -v s=$s 'NR == 1 { for (i = 2; i <= NF; i++) name[i] = $i; next }
        { for (i = 2; i <= NF; i++) print s ":" $1, name[i], $i }'
done >counts
flat() { # flat FILE.csv FORMAT: SECTION:SPOT COLUMN VALUE
    awk -F, -v format="%s:%s %s $2\n" 'NR == 1 { for (i = 3; i <= NF; i++) name[i] = $i; next }
        { for (i = 3; i <= NF; i++) printf format, $2, $1, name[i], $i }' "$1" | sort
}
awk '$3' counts | sort >wanted
flat l.count.csv %d | awk '$3' >found # genes that a section lacks are 0
check "counts" cmp wanted found
awk '{ n[$2] += $3 } END { for (g in n) print n[g], g }' counts | sort -k1,1nr | head -6 | cut -d' ' -f2 >chosen
check "the genes with the highest totals, in order" test "$(head -1 l.top.csv)" = "spot,section,$(paste -sd, chosen)"
awk 'FNR == NR { sum[$1] += $3; c[$1, $2] = $3; next }
    { for (s in sum) printf "%s_%s %.6f\n", s, $1, log(1 + c[s, $1] * 1e4 / sum[s]) }' counts chosen | sort >wanted
flat l.top.csv %.6f | sed 's/ /_/' | sort >found
check "as many logarithms" test "$(wc -l <wanted)" -eq "$(join wanted found | wc -l)"
check "logarithms of scaled counts" awk '{ d = $2 - $3; if (d * d > 1e-10) exit 1 }' <(join wanted found)
check "ranks go from 1 to 6" awk -F, 'NR > 1 { split("", seen); for (i = 3; i <= 8; i++) seen[$i]++
    for (k = 1; k <= 6; k++) if (seen[k] != 1) exit 1 }' l.order.csv
check "ranks follow the values" awk -F, 'NR == FNR { top[FNR] = $0; next }
    FNR > 1 { split(top[FNR], v, ","); for (i = 3; i <= 8; i++) for (k = 3; k <= 8; k++)
        if (v[i] + 0 < v[k] + 0 && $i > $k) exit 1 }' l.top.csv l.order.csv
check "ranks of eight types" awk -F, 'NR > 1 { n = 0; for (i = 3; i <= 10; i++) n += $i; if (n != 36) exit 1 }' \
    l.place.csv
tail -qn +2 tissue/proportions/A2_minor.tsv |
    awk -F'\t' '{ for (i = 2; i <= 9; i++) printf "%s %d %.6f\n", $1, i - 1, $i }' | sort >wanted
awk -F, '$2 == "A2" { for (i = 3; i <= 10; i++) printf "%s %d %.6f\n", $1, i - 2, $i }' l.part.csv | sort >found
check "proportions" cmp wanted found
check "features by row" test "$(awk -F, 'NR > 1 { n[$2]++; for (k = 1; k <= 4; k++) wrong += $(k + 2) != n[$2] * k }
    END { print n["A1"], n["A2"], n["A3"], wrong }' l.encoded.csv)" = "${spots[A1]} ${spots[A2]} ${spots[A3]} 0"
check "tiles are pictures" awk -F, 'NR > 1 { for (i = 3; i <= 5; i++) if (!($i > 20 && $i < 255)) exit 1 }' l.colour.csv

# ---- the same section as Space Ranger writes it, and as AnnData
outs A1 A1
genes=$(wc -l <A1/filtered_feature_bc_matrix/features.tsv)
expect 0 'kernels' "compile for one section" "$stmc" "$here/probe.stm" -D all="$genes" -o single
cp tissue/proportions/A1_minor.tsv A1/proportions/ && mkdir A1/features && cp tissue/features/A1.npy A1/features/
expect 0 "v.h5: 1 section, ${spots[A1]} spots, tiles of 12 x 12 pixels, $genes genes" "prepare Space Ranger's output" \
    ./single prepare --from A1 --image tissue/images/A1.jpg --out v.h5
./single prepare --from tissue --section A1 --out one.h5 >out 2>&1
./single train one.h5 --out single-run --epochs 1 >out 2>&1
weights=single-run/last.safetensors
expect 0 'one.csv' "what the section alone holds" \
    ./single predict one.h5 --weights $weights --out one.csv --map none
expect 0 'v.csv' "what Space Ranger's holds" ./single predict v.h5 --weights $weights --out v.csv --map none
for what in top order count part place encoded colour; do
    rows_of A1 one.$what.csv >wanted
    rows_of A1 v.$what.csv >found
    check "Space Ranger's $what are those of legacy ST" cmp wanted found
done
expect 0 'v2.h5: 1 section' "an insisted layout" \
    ./single prepare --from A1 --image tissue/images/A1.jpg --out v2.h5 --layout visium
expect 1 'A1|hest' "another layout than the data's" ./single prepare --from A1 --out x.h5 --layout hest
expect 1 "layout.*'?visum'?.*visium|visum" "an unknown layout" \
    ./single prepare --from A1 --out x.h5 --layout visum
expect 1 'edge of tiles is .*replicate, black, white' "an unknown word of a setting" \
    ./single prepare --from A1 --out x.h5 --edge grey
expect 1 'validation and test must leave something' "shares that leave nothing" \
    ./single prepare --from tissue --out x.h5 --share 1
absent "what is refused writes nothing" x.h5
if [ -x "$stmdata" ]; then
    expect 0 '' "as AnnData" "$stmdata" convert A1 --out A1.h5ad
    mkdir -p annotated/proportions annotated/features && mv A1.h5ad annotated/
    cp tissue/proportions/A1_minor.tsv annotated/proportions/ && cp tissue/features/A1.npy annotated/features/
    expect 0 "h.h5: 1 section, ${spots[A1]} spots" "prepare AnnData" \
        ./single prepare --from annotated/A1.h5ad --image tissue/images/A1.jpg --out h.h5
    expect 0 'h.csv' "what it holds" ./single predict h.h5 --weights $weights --out h.csv --map none
    for what in top order count part place encoded colour; do
        rows_of A1 one.$what.csv >wanted
        rows_of A1 h.$what.csv >found
        check "AnnData's $what are those of legacy ST" cmp wanted found
    done
    # a tree of HEST-1k: two patients, features, no slides
    mkdir -p hest/st && cp -r tissue/features hest/
    for s in A1 A2 A3; do
        outs $s outs-$s
        expect 0 "$s.h5ad: ${spots[$s]} spots" "a sample of HEST" "$stmdata" convert outs-$s --out hest/st/$s.h5ad
    done
    printf 'id,patient,species\nA1,p1,Homo sapiens\nA2,p1,Homo sapiens\nA3,p2,Homo sapiens\n' >hest/HEST_v1_1_0.csv
    cat >hest.stm <<'END'
model hest "features alone"
use nn, loss, optim
axis spot = dynamic
axis wide = 4
axis gene = from data
input h : f32[spot, wide] from encoded
input t : f32[spot, gene] from genes
net guess(h) -> y[spot, gene] {
    y = h |> fc: linear(gene)
}
train {
    loss      = mse(guess(h), t)
    optimizer = adamw(lr = 1e-2)
    epochs    = 1
    batch     = 8
}
evaluate {
    y = guess(h)
    metric error = mse(y, t)
}
prepare {
    genes   = expression("high_mean_variance", n = 40, drop = "mt_ribo_compat", log = "two")
    encoded = features("features/{section}.npy")
    parts   = split("patient", validation = 0.5)
}
END
    expect 0 'kernels' "compile for HEST" "$stmc" hest.stm -D gene=40 -o hest40
    expect 0 "hest.h5: 3 sections, $total spots, no tiles" "prepare HEST" ./hest40 prepare --from hest --out hest.h5
    check "patients are not torn apart" grep -Eq "split +parts +train (${spots[A3]}, validation $((spots[A1] + spots[A2]))|$((
        spots[A1] + spots[A2])), validation ${spots[A3]}), test 0" out
    chosen=$(sed -n 's/^  table *genes *\([0-9]*\) columns/\1/p' out)
    check "fewer genes than asked for" test "$chosen" -gt 0 -a "$chosen" -lt 40
    check "the program says how to read them" grep -q "compile it with -D gene=$chosen" out
    expect 0 'kernels' "compile for what was chosen" "$stmc" hest.stm -D gene="$chosen" -o hest-chosen
    expect 0 'by the split parts' "train on patients" ./hest-chosen train hest.h5 --split parts --out hest-run
    rm hest/st/A2.h5ad
    expect 0 '2 sections' "a sample that is not there is no section" ./hest-chosen prepare --from hest --out hest2.h5
else
    skip "AnnData and HEST" "$stmdata is not built"
fi

# ---- words for genes, lists, and a store without tiles
for choice in top_mean hvg_seurat_v3; do
    expect 0 'kernels' "compile for $choice" "$stmc" "$here/probe.stm" -D chosen=$choice -o other
    expect 0 'genes +6 columns' "prepare $choice" ./other prepare --from tissue --out c.h5
done
printf 'ACTB\nKRT8\nCD36\nnone_such\nVWF\nAPOE\n' >list.txt
expect 0 'kernels' "compile for a list" "$stmc" "$here/probe.stm" -D chosen=./list.txt -o other
expect 0 'genes +6 columns' "prepare a list" ./other prepare --from tissue --out c.h5
check "genes that are missing are told" grep -q 'A2: table genes: 1 of 6 genes are not there' out
./other train c.h5 --out other-run --epochs 1 >out 2>&1
expect 0 'c.csv' "what it holds" \
    ./other predict c.h5 --weights other-run/last.safetensors --out c.csv --map none
check "the columns are the list's" test "$(head -1 c.top.csv)" = "spot,section,ACTB,KRT8,CD36,none_such,VWF,APOE"
check "a gene that no section has is 0" awk -F, 'NR > 1 && $6 != 0 { exit 1 }' c.top.csv
rm list.txt && mkdir -p tissue && printf 'ACTB\nKRT8\nCD36\nGAPDH\nVWF\nAPOE\n' >tissue/list.txt
expect 0 'genes +6 columns' "a list beside the source" ./other prepare --from tissue --out c.h5
rm tissue/list.txt
expect 1 'neither ./list.txt nor tissue/./list.txt' "a list that is missing" \
    ./other prepare --from tissue --out x.h5
cat >plain.stm <<'END'
model plain "features alone"
use nn
axis spot = dynamic
axis wide = 4
input h : f32[spot, wide] from encoded
net guess(h) -> y[spot] {
    z = h |> fc: linear(1)
    y[s] = z[s, 0]
}
predict {
    output y = guess(h)
}
prepare {
    encoded = features("features/{section}.npy")
}
END
expect 0 'kernels' "compile a model of features alone" "$stmc" plain.stm -o plain
expect 0 "f.h5: 3 sections, $total spots, no tiles" "a store without tiles" \
    ./plain prepare --from tissue --out f.h5
refute "and without tables" grep -q '^  table' out
expect 0 "f2.h5: 1 section, ${spots[A1]} spots, no tiles$" "where nothing reads counts there are none" \
    ./plain prepare --from A1 --out f2.h5
expect 1 'f.h5 has no dataset genes; it has counts; features encoded' "a model that reads more refuses it" \
    ./probe train f.h5 --out x
expect 0 'kernels' "compile a model of tiles" "$stmc" "$here/tiny.stm" -o tiny
expect 1 'f.h5 holds no tiles' "a store without tiles" ./tiny train f.h5 --out x
sed 's/from ranks/from near/' "$here/tiny.stm" >graph.stm
expect 0 'kernels' "compile a model that reads what no line makes" "$stmc" graph.stm -o graph
expect 1 'near is a graph over the spots of a section, which cannot be an input: the runtime feeds rows of one' \
    "a graph as an input" ./graph train t.h5 --out x
sed 's/f32.spot, wide. from encoded/f32[spot, 80] from counts/' plain.stm >counts.stm
expect 0 'kernels' "compile a model of counts" "$stmc" counts.stm -o counted
expect 0 'f3.h5: 1 section, [0-9]+ spots, no tiles, [0-9]+ genes' "counts for an input that reads them" \
    ./counted prepare --from A1 --out f3.h5
npy tissue/features/A2.npy 3
expect 1 'A2.npy' "features of other spots" ./plain prepare --from tissue --out x.h5
rm tissue/features/A2.npy
expect 1 'A2.npy' "features that are missing" ./plain prepare --from tissue --out x.h5
npy tissue/features/A2.npy "${spots[A2]}"
absent "what is refused writes nothing" x.h5

# ---- adding sections
sed '/folds   = /d' "$here/probe.stm" >adding.stm
expect 0 'kernels' "compile without a split by section" "$stmc" adding.stm -o adding
expect 0 'a.h5: 1 section' "the first section" ./adding prepare --from tissue --section A1 --out a.h5
cp a.h5 first.h5
expect 1 'A1' "a section that is there" ./adding prepare --from tissue --section A1 --out a.h5 --append
check "leaves the store alone" cmp a.h5 first.h5
expect 1 'folds|split' "a split by section" ./probe prepare --from tissue --section A2 --out a.h5 --append
check "leaves the store alone, too" cmp a.h5 first.h5
expect 1 'none.h5' "a store that is not there" \
    ./adding prepare --from tissue --section A2 --out none.h5 --append
expect 0 "added: 1 section, ${spots[A2]} spots" "another section" \
    ./adding prepare --from tissue --section A2 --out a.h5 --append
check "the store has both" grep -Eq "^a.h5: 2 sections, $((spots[A1] + spots[A2])) spots" out

# ---- --depth, wrong sources
expect 0 'd.h5: 3 sections' "--depth" ./probe prepare --from tissue --depth major --out d.h5
check "its table" grep -Eq '^  table +major +4 columns' out
check "and ranks" grep -Eq '^  table +major_rank +4 columns' out
refute "instead of the spec's" grep -Eq '^  table +minor' out
expect 0 'd.h5' "another table by a setting" ./probe prepare --from tissue --kind major --out d.h5
check "the program says that it cannot read that" grep -q 'note: this program cannot read all of it: .*shares is f32' out
expect 1 'shares is f32\[spot, 4\].*reads it as f32\[spot, 8\]' "which this model cannot read" \
    ./probe predict d.h5 --weights run/best.safetensors --out x.csv --kind major
expect 1 'minr.*A1|A1.*minr' "a table that is not there" ./probe prepare --from tissue --kind minr --out x.h5
expect 1 'nowhere' "a source that is not there" ./probe prepare --from nowhere --out x.h5
mkdir empty
expect 1 'empty.*(looked|no |none|is not)' "an empty directory" ./probe prepare --from empty --out x.h5
expect 1 'B7.*A1 A2 A3|B7' "a section that is not there" ./probe prepare --from tissue --section B7 --out x.h5
expect 1 'none.jpg' "a picture that is not there" ./probe prepare --from A1 --image none.jpg --out x.h5
expect 1 'image' "--image with several sections" \
    ./probe prepare --from tissue --image tissue/images/A1.jpg --out x.h5
expect 2 'prepare needs --from' "no source" ./probe prepare --out x.h5
expect 2 '--append does not go with train|no flag --append' "--append elsewhere" \
    ./probe train t.h5 --out x --append
absent "what is refused writes nothing" x.h5 x.csv x

# ---- real samples
if [ -d "$data/visium/crc16" ]; then
    sed -e 's/^axis all.*/axis all = 36601/; /from orders/d; /from shares/d; /from places/d; /from encoded/d' \
        -e '/^    orders /d; /^    shares /d; /^    places /d; /^    encoded /d; /output order/d; /output part/d' \
        -e '/output place/d; /output encoded/d; s/guess(h)/guess(top)/; s/h |> fc/top |> fc/; /output count/d' \
        -e '/from counts/d; s/radius = 8/spots = 1/; s/^axis gene = 6/axis gene = 50/' \
        -e 's/neighbours(k = 4)/neighbours(lattice = "hex")/; s/chosen  = "top_total"/chosen = "hvg_seurat_v3"/' \
        "$here/probe.stm" >visium.stm
    expect 0 'kernels' "compile for Visium" "$stmc" visium.stm -o visium
    expect 0 'crc.h5: 1 section, 3106 spots, tiles of 12 x 12 pixels' "prepare crc16" \
        ./visium prepare --from "$data/visium/crc16" --out crc.h5
    check "chosen genes" grep -Eq '^  table +genes +50 columns' out
    check "a hexagonal lattice" grep -Eq '^  graph +near +5\.[0-9]+ neighbours a spot, at most 6' out
    check "the picture is the small one, and that is told" grep -qi 'lowres' out
    expect 0 "best: " "train on it" ./visium train crc.h5 --split mixed --epochs 1 --out crc
else
    skip "real samples" "there is no $data/visium/crc16 (DATA=DIR says where they are)"
fi
finish
