#!/usr/bin/env bash
# stmdata.sh BUILD: the tool of the data room as a user meets it: what it says about every kind of file, the pieces it
# takes out, its exit statuses, and how fast it starts. Samples of ../shared/data where they are there.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
stmdata=$build/bin/stmdata samples=$root/../shared/data
[ -x "$stmdata" ] || { echo "$stmdata is missing: build the target stmdata"; exit 3; }
"$maketissue" tissue --sections 3 --spots 40 --width 500 --genes 80 >out 2>&1 || { cat out; exit 3; }

# fact NAME FILE KEY VALUE [FLAG...]: inspect --json says so
fact() {
    local name=$1 file=$2 key=$3 value=$4
    shift 4
    "$stmdata" inspect "$file" --json "$@" >out 2>&1 || { bad "$name: exit status $?"; return; }
    if ! is_json out; then bad "$name: not JSON"
    elif grep -Eq "^  \"$key\": $value,?\$" out; then ok
    else bad "$name: $key is not $value"; fi
}

# ---- the command line
expect 0 'stmdata inspect FILE\|DIR' "--help" "$stmdata" --help
for command in inspect region hvg convert export map check; do
    expect 0 "^stmdata $command " "$command --help" "$stmdata" $command --help
done
expect 0 '^stmdata [0-9]+\.[0-9]+\.[0-9]+$' "--version" "$stmdata" --version
expect 2 "stmdata --help" "no command" "$stmdata"
expect 2 'did you mean inspect' "a misspelt command" "$stmdata" inspekt x
expect 2 'did you mean --json' "a misspelt flag" "$stmdata" inspect tissue --jsom
expect 2 'there is no flag' "a flag of another command" "$stmdata" inspect tissue --n 5
expect 2 'usage: stmdata inspect' "no file" "$stmdata" inspect
expect 2 'is too much' "two files" "$stmdata" inspect a b
expect 2 '\-\-out FILE is missing' "no --out" "$stmdata" region x 0 0 1 1
expect 2 'must end in .png' "another ending" "$stmdata" region x 0 0 1 1 --out x.jpg
expect 2 "'a' is not a whole number" "a place that is no number" "$stmdata" region x a 0 1 1 --out x.png
expect 2 'seurat or seurat_v3' "another flavor" "$stmdata" hvg x --flavor v2 --n 5 --out x.csv
expect 2 'given twice' "a flag twice" "$stmdata" hvg x --n 5 --n 6
expect 2 'needs a value' "a flag without its value" "$stmdata" hvg x --n
expect 1 'nowhere' "no such file" "$stmdata" inspect nowhere
if [ -w /dev/full ]; then
    "$stmdata" inspect tissue >/dev/full 2>out
    check "a full output is status 3" test $? -eq 3
    check "and is said" grep -q 'cannot write' out
fi

# ---- a made tissue
counts=$(printf '%s\n' tissue/counts/A1* | head -1)
spots=$(($(gzip -dcf "$counts" | wc -l) - 1))
sum=$(gzip -dcf "$counts" | awk -F'\t' 'NR > 1 { for (i = 2; i <= NF; i++) n += $i } END { print n }')
nnz=$(gzip -dcf "$counts" | awk -F'\t' 'NR > 1 { for (i = 2; i <= NF; i++) n += $i > 0 } END { print n }')
genes=$(($(gzip -dcf "$counts" | head -1 | awk -F'\t' '{ print NF }') - 1))
fact "counts: spots" "$counts" obs "$spots"
fact "counts: genes" "$counts" var "$genes"
fact "counts: sum" "$counts" sum "$sum"
fact "counts: entries" "$counts" nnz "$nnz"
fact "a section of a directory" tissue sum "$sum" --section A1
expect 0 'A3' "a directory of sections" "$stmdata" inspect tissue
expect 1 "no section 'B1'; there are A1, A2, A3" "an unknown section" "$stmdata" inspect tissue --section B1
picture=$(printf '%s\n' tissue/images/A1*)
fact "a picture" "$picture" kind '"image"'
fact "its levels" "$picture" levels 1
fact "proportions are a table" tissue/proportions/A1_minor.tsv kind '"table"'
fact "positions" tissue/spots/A1_selection.tsv kind '"positions"'
printf 'SET\tabout\tA\tB\nOTHER\tabout\tB\tC\tD\n' >sets.gmt
fact "gene sets" sets.gmt sets 2
fact "genes of sets" sets.gmt genes 4
: >empty
expect 1 'empty' "an empty file" "$stmdata" inspect empty
head -c 3000 /dev/urandom | tr -d '\n\t,' >noise
expect 1 'noise' "noise" "$stmdata" inspect noise
mkfifo pipe
expect 1 'pipe|regular' "a pipe is not waited for" timeout 5 "$stmdata" inspect pipe
mkdir hollow
expect 1 'hollow' "an empty directory" "$stmdata" inspect hollow
printf '\x89HDF\r\n\x1a\nnothing more' >broken.h5
expect 1 'broken.h5' "a broken HDF5 file" "$stmdata" inspect broken.h5

# ---- stores and weights
"$stmc" "$here/tiny.stm" -o tiny >out 2>&1 || { cat out; exit 3; }
./tiny prepare --from tissue --out t.h5 >out 2>&1 || { cat out; exit 3; }
fact "a store" t.h5 kind '"store"'
fact "its tiles" t.h5 tile_size 12
expect 0 'A3' "a store for readers" "$stmdata" inspect t.h5
expect 0 'sound' "check of a sound store" "$stmdata" check t.h5
expect 1 'not a store' "check of something else" "$stmdata" check "$picture"
size=$(stat -c %s t.h5)
for part in 3 5 8; do
    head -c $((size * part / 10)) t.h5 >cut.h5
    expect 1 'cut.h5' "check of a store cut at $part tenths" "$stmdata" check cut.h5
done
caught=0
for i in $(seq 12); do # a byte changed inside: noticed, except where it is padding or slack of the file
    cp t.h5 flip.h5
    at=$((size / 13 * i))
    byte=$(od -An -tu1 -j $at -N 1 flip.h5 | tr -d ' ')
    printf "\\x$(printf %02x $((byte ^ 255)))" | dd of=flip.h5 bs=1 seek=$at conv=notrunc status=none
    timeout 20 "$stmdata" check flip.h5 >out 2>&1
    got=$?
    if [ $got -gt 1 ]; then bad "check of a damaged store: exit status $got"; fi
    if [ $got -eq 1 ] && grep -q 'flip.h5' out; then caught=$((caught + 1)); fi
done
check "damage inside a store is noticed ($caught of 12)" test $caught -ge 9
./tiny train t.h5 --hold-out A3 --out run --epochs 1 >out 2>&1 || { cat out; exit 3; }
fact "weights" run/best.safetensors kind '"weights"'
expect 0 'conv.weight +F32 +4 x 3 x 3 x 3' "weights for readers" "$stmdata" inspect run/best.safetensors
./tiny predict t.h5 --section A3 --weights run/best.safetensors --out p.h5ad --map none >out 2>&1
fact "predictions" p.h5ad obs "$(($(gzip -dcf tissue/counts/A3* | wc -l) - 1))"
expect 0 'array_col \(integer\)' "their columns" "$stmdata" inspect p.h5ad

# ---- pieces
expect 0 '20 x 10 pixels' "region" "$stmdata" region "$picture" 5 7 20 10 --out r.png
fact "its width" r.png width 20
fact "its height" r.png height 10
expect 1 'reaches|outside|leaves' "a region outside" "$stmdata" region "$picture" 490 0 100 10 --out far.png
expect 1 'no level 3' "a level that is not there" "$stmdata" region "$picture" 0 0 1 1 --level 3 --out far.png
expect 3 'nodir' "a directory that is not there" "$stmdata" region "$picture" 0 0 1 1 --out nodir/far.png
absent "what fails writes nothing" far.png
for flavor in seurat seurat_v3; do
    expect 0 '10 of' "hvg $flavor" "$stmdata" hvg "$counts" --flavor $flavor --n 10 --out $flavor.csv
    check "10 genes of $flavor" test "$(wc -l <$flavor.csv)" -eq 11
done
expect 0 "$spots spots, $genes genes" "convert to h5ad" "$stmdata" convert tissue --section A1 --out c.h5ad
fact "which reads back: sum" c.h5ad sum "$sum"
fact "which reads back: entries" c.h5ad nnz "$nnz"
expect 0 '' "convert to dense h5ad" "$stmdata" convert c.h5ad --dense --out d.h5ad
fact "dense" d.h5ad x '"dense"'
fact "and the same sum" d.h5ad sum "$sum"
"$stmdata" convert c.h5ad --out e.h5ad >out 2>&1
"$stmdata" convert c.h5ad --out f.h5ad >out 2>&1
check "two conversions give the same bytes" cmp e.h5ad f.h5ad
expect 0 '' "convert to CSV" "$stmdata" convert c.h5ad --out c.csv
expect 0 '' "convert to NPZ" "$stmdata" convert c.h5ad --out c.npz
expect 0 'indptr' "whose arrays are SciPy's" "$stmdata" inspect c.npz
expect 0 'genes' "with the names beside" "$stmdata" inspect c.npz
expect 2 'must end in .h5ad, .csv or .npz' "another ending" "$stmdata" convert c.h5ad --out c.txt
check "with the same sum" test "$(awk -F, 'NR > 1 { for (i = 2; i <= NF; i++) n += $i } END { print n }' c.csv)" = "$sum"

expect 2 'belong together' "export: --n without --flavor" "$stmdata" export tissue "$picture" --out ex --n 5
expect 1 'give --radius' "export without a radius" "$stmdata" export tissue "$picture" --section A1 --out ex
expect 0 "$spots spots, 10 genes, patches of 24 x 24" "export" "$stmdata" export tissue "$picture" --section A1 \
    --radius 12 --flavor seurat_v3 --n 10 --out ex
check "a row, a picture and a vector per spot" test \
    "$(wc -l <ex/metadata.csv) $(find ex/image -name '*.jpg' | wc -l) $(find ex/genes -name '*.npy' | wc -l)" = \
    "$((spots + 1)) $spots $spots"
fact "a vector" "$(printf '%s\n' ex/genes/* | head -1)" elements 10
expect 3 'is there already' "export over something" "$stmdata" export tissue "$picture" --section A1 --radius 12 --out ex

# ---- parts of a 10x matrix directory
printf '%%%%MatrixMarket matrix coordinate integer general\n%%\n3 2 4\n1 1 5\n2 1 0\n3 2 7\n1 2 1\n' >m.mtx
fact "a matrix alone" m.mtx nnz 3
fact "its sum" m.mtx sum 13
printf '%%%%MatrixMarket matrix coordinate integer general\n3 2 2\n1 1 5\n4 1 1\n' >far.mtx
expect 1 'far.mtx:4: a row to 3' "an entry outside" "$stmdata" inspect far.mtx
printf '%%%%MatrixMarket matrix coordinate integer general\n3 2 2\n1 1 5\n' >cut.mtx
expect 1 '2 entries are announced and 1 are there' "a matrix cut off" "$stmdata" inspect cut.mtx
printf 'AAACAAGTATCTCCCA-1\nAAACACCAATAACTGC-1\n' >b.tsv
fact "barcodes" b.tsv barcodes 2
printf 'ENSG00000014257\tACPP\tGene Expression\nENSG00000167034\tNKX3-1\tGene Expression\n' >f.tsv
fact "features" f.tsv features 2

# ---- maps
expect 2 'either --gene NAME or --column NAME' "map of nothing" "$stmdata" map tissue --out m.png
expect 2 'either --gene NAME or --column NAME' "map of two things" "$stmdata" map tissue --gene a --column b --out m.png
expect 2 'must end in .png' "another ending" "$stmdata" map tissue --gene a --out m.jpg
expect 2 'the palettes are viridis, cividis and magma' "another palette" \
    "$stmdata" map tissue --gene a --palette jet --out m.png
gene=$(gzip -dcf "$counts" | head -1 | cut -f2)
expect 1 'name the section' "no section" "$stmdata" map tissue --gene "$gene" --out m.png
expect 1 "did you mean $gene\?" "a misspelt gene" "$stmdata" map tissue --section A1 --gene "${gene}x" --out m.png
expect 1 'no column nothing; it has array_row, array_col' "a column that is not there" \
    "$stmdata" map tissue --section A1 --column nothing --out m.png
expect 1 'not the picture of these spots' "a picture of something else" \
    "$stmdata" map tissue --section A1 --gene "$gene" --image r.png --out m.png
expect 1 'there are no positions of spots' "counts without places" "$stmdata" map "$counts" --gene "$gene" --out m.png
expect 3 'none/m.png' "a directory that is not there" "$stmdata" map tissue --section A1 --gene "$gene" --out none/m.png
absent "what fails draws nothing" m.png
expect 0 "$gene over $spots spots, A1\..*, a pixel is [0-9.]+ µm" "a map of a gene" \
    "$stmdata" map tissue --section A1 --gene "$gene" --log --out m.png
fact "is a picture" m.png kind '"image"'
cp m.png again.png
"$stmdata" map tissue --section A1 --gene "$gene" --log --out m.png >out 2>&1
check "and the same one again" cmp m.png again.png
"$stmdata" map tissue --section A1 --gene "$gene" --log --palette magma --out magma.png >out 2>&1
refute "and another with another palette" cmp -s m.png magma.png
expect 0 'over' "of an AnnData file" "$stmdata" map c.h5ad --gene "$gene" --out c.png
expect 0 'array_col over' "of a column" "$stmdata" map c.h5ad --column array_col --out c.png

# ---- how fast it starts
best=1000000
for _ in $(seq 10); do
    begun=$(date +%s%N)
    "$stmdata" inspect c.h5ad >/dev/null
    took=$((($(date +%s%N) - begun) / 1000))
    [ $took -lt $best ] && best=$took
done
echo "inspect of a small h5ad: $best µs"
check "inspect starts within 20 ms" test $best -le 20000

# ---- the samples
if [ -d "$samples" ]; then
    fact "crc16: spots" "$samples/visium/crc16" obs 3106
    fact "crc16: entries" "$samples/visium/crc16" nnz 2423896
    fact "crc16: sum" "$samples/visium/crc16" sum 4671205
    fact "brain: HDF5" "$samples/visium/brain_sr2/filtered_feature_bc_matrix.h5" sum 738015
    fact "brain: directory" "$samples/visium/brain_sr2/filtered_feature_bc_matrix" sum 738015
    fact "colon HD" "$samples/visium/colon_hd_16um" obs 675
    fact "her2st" "$samples/her2st" obs 732
    fact "two genomes" "$samples/visium/h5_variants/cellranger_1.2_two_genomes.h5" obs 24
    fact "SVS" "$samples/tiff/cmu1_small_region.svs" width 2220
    fact "a pyramid" "$samples/tiff/made_c2_tiled_jpeg_pages.tif" levels 4
    fact "hallmarks" "$samples/msigdb/h.all.v7.0.symbols.gmt" sets 50
    expect 0 'lowres picture of 561 x 600, a pixel is 1.295 µm' "map of crc16" \
        "$stmdata" map "$samples/visium/crc16" --gene EPCAM --log --out crc.png
    expect 0 'hires picture is left out: it has one colour only' "a black picture" \
        "$stmdata" map "$samples/visium/heart_100x100" --column in_tissue --out heart.png
    expect 0 'no picture, a pixel is 0.3444 µm' "pictures that do not fit" \
        "$stmdata" map "$samples/visium/prostate_tiny" --column in_tissue --out prostate.png
    expect 0 'a pixel is 0.2738 µm' "bins of Visium HD" \
        "$stmdata" map "$samples/visium/colon_hd_16um" --gene PIGR --out colon.png
    expect 0 'leiden over 49 spots, lowres picture' "categories" \
        "$stmdata" map "$samples/h5ad/visium_brain_csr.h5ad" --column leiden --out leiden.png
    expect 1 'holds categories' "categories have no logarithm" \
        "$stmdata" map "$samples/h5ad/visium_brain_csr.h5ad" --column leiden --log --out x.png
    expect 0 'C2.jpg, a pixel is 0.689 µm' "map of her2st" \
        "$stmdata" map "$samples/her2st" --section C2 --gene ERBB2 --out her2.png
    "$stmdata" convert "$samples/h5ad/visium_breast_dense.h5ad" --out breast.csv >out 2>&1
    expect 1 'has values below 0' "no logarithm of scaled values" "$stmdata" map \
        "$samples/h5ad/visium_breast_dense.h5ad" --gene "$(head -1 breast.csv | cut -d, -f2)" --log --out x.png
    expect 1 'pandas' "Parquet: how to convert it" "$stmdata" inspect \
        "$samples/visium/colon_hd_16um/spatial/tissue_positions.parquet"
else
    skip "the samples" "$samples is not there"
fi
finish
