#!/usr/bin/env bash
# faults.sh BUILD: kills, signals, damaged data and full disks. Each fault is answered by a message that
# names file and cause, an exit status that is not 0, and nothing half-written.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# Without patience, so that a run is as long as it is told.
sed 's/ stop after 5//' "$here/tiny.stm" >tiny.stm
"$stmc" tiny.stm -o tiny >out 2>&1 || { cat out; exit 3; }
"$stmc" tiny.stm -o tiny24 -D side=24 >out 2>&1 || { cat out; exit 3; }
"$stmc" tiny.stm -o tiny_major -D level=major >out 2>&1 || { cat out; exit 3; }
"$maketissue" tissue --sections 3 --spots 40 --width 500 --genes 80 >out 2>&1 || { cat out; exit 3; }
./tiny prepare --from tissue --out t.h5 >out 2>&1 || { cat out; exit 3; }
./tiny train t.h5 --hold-out A3 --out a >out 2>&1 || { cat out; exit 3; }

# fault NAME PATTERN OUTPUT COMMAND...: fails with 1 or 3, prints PATTERN (file, then cause), leaves no OUTPUT
fault() {
    local name=$1 pattern=$2 output=$3 got
    shift 3
    timeout 60 "$@" >out 2>&1
    got=$?
    if [ $got -ne 1 ] && [ $got -ne 3 ]; then bad "$name: exit status $got"
    elif ! grep -Eq -- "$pattern" out; then bad "$name: no '$pattern' in the output"
    else absent "$name" "$output"; fi
    rm -rf "$output"
}

# ---- kills and signals
expect 0 ' 0 failed' "20 kills -9, then the same bytes" \
    "$root/tests/faults/kill_resume.sh" 20 ./tiny train t.h5 --hold-out A3 --epochs 1500
tail -2 out
./tiny train t.h5 --hold-out A3 --epochs 1500 --out whole >out 2>&1
for round in 1 2 3; do
    ./tiny train t.h5 --hold-out A3 --epochs 1500 --out stopped --resume >out 2>&1 &
    sleep 0.$((RANDOM % 3 + 1))
    kill -TERM $!
    wait $!
    check "SIGTERM: exit status 0" test $? -eq 0
    check "SIGTERM leaves a checkpoint" test -s stopped/state.safetensors
done
check "SIGTERM says how to go on" grep -Eq 'resume|best:' out
./tiny train t.h5 --hold-out A3 --epochs 1500 --out stopped --resume >out 2>&1
for file in last best state; do
    check "after SIGTERM the same $file" cmp whole/$file.safetensors stopped/$file.safetensors
done
# Killed at random instants of its whole life: the store is whole or was never there, and one that was there before
# stays as it was.
begun=$(date +%s%N)
./tiny prepare --from tissue --out whole.h5 >out 2>&1
lasts=$((($(date +%s%N) - begun) / 1000000)) # ms
before=0 after=0
for round in $(seq 24); do
    if [ $((round % 2)) -eq 0 ]; then echo "the old one" >killed.h5; fi
    ./tiny prepare --from tissue --out killed.h5 >out 2>&1 &
    sleep "$(awk -v ms=$lasts -v r=$RANDOM 'BEGIN { printf "%.4f", 1.1 * ms * r / 32768 / 1000 }')"
    kill -9 $! 2>/dev/null
    wait $! 2>/dev/null
    if cmp -s t.h5 killed.h5; then after=$((after + 1)) && ok
    elif [ $((round % 2)) -eq 0 ]; then
        before=$((before + 1))
        check "a killed prepare leaves the old store" grep -qx "the old one" killed.h5
    else
        before=$((before + 1))
        check "a killed prepare leaves no store" test ! -e killed.h5
    fi
    rm -f killed.h5 .killed* killed*
done
echo "prepare of $lasts ms killed 24 times: $before before the store was there, $after after"

# ---- original data
# damaged NAME PATTERN COMMANDS: prepare from a copy of the tissue that COMMANDS (run inside it) have changed
damaged() {
    rm -rf d && cp -r tissue d
    (cd d && eval "$3") || { bad "$1: could not damage the data"; return; }
    fault "$1" "$2" x.h5 ./tiny prepare --from d --out x.h5
}
edit() { # edit FILE.gz AWK: rewrites a gzipped table
    gzip -dc "$1" | awk -F'\t' -v OFS='\t' "$2" | gzip -n >edited && mv edited "$1"
}
fault "no such directory" 'nowhere (does not exist|is not a directory)' x.h5 ./tiny prepare --from nowhere --out x.h5
mkdir bare
fault "an empty directory" 'bare' x.h5 ./tiny prepare --from bare --out x.h5
damaged "no picture" 'd/images/A2\.jpg|images.*A2' 'rm images/A2.jpg'
damaged "no positions" 'd/spots/A2_selection.tsv' 'rm spots/A2_selection.tsv'
damaged "no proportions" 'd/proportions/A2_minor.tsv' 'rm proportions/A2_minor.tsv'
damaged "no counts" 'd/counts' 'rm counts/*'
damaged "a picture cut in half" 'd/images/A2.jpg.*(ends|cut|truncat|prematur|incomplete)' \
    'truncate -s 9000 images/A2.jpg'
damaged "a picture cut in its head" 'd/images/A2.jpg' 'truncate -s 100 images/A2.jpg'
damaged "an empty picture" 'd/images/A2.jpg' 'truncate -s 0 images/A2.jpg'
damaged "a picture that is text" 'd/images/A2.jpg' 'echo text >images/A2.jpg'
damaged "counts cut in half" 'd/counts/A2.tsv.gz.*(ends|cut|truncat|incomplete|unexpected)' \
    'truncate -s 1500 counts/A2.tsv.gz'
damaged "counts with a wrong byte" 'd/counts/A2.tsv.gz' \
    'printf "\xff\x00\xff\x00" | dd of=counts/A2.tsv.gz bs=1 seek=1500 conv=notrunc 2>/dev/null'
damaged "counts without positions" 'A2.*no (position|line|spot)|A2.*not in|A2.*99x99' \
    'edit counts/A2.tsv.gz "NR == 3 { \$1 = \"99x99\" } 1"'
damaged "the same spot twice in counts" 'counts/A2.tsv.gz.*(twice|duplicate|again|repeated)' \
    'edit counts/A2.tsv.gz "1; NR == 3"'
damaged "the same gene twice" 'counts/A2.tsv.gz.*(twice|duplicate|again|repeated)' \
    'edit counts/A2.tsv.gz "NR == 1 { \$3 = \$2 } 1"'
damaged "the same spot twice in positions" 'spots/A2_selection.tsv.*(twice|duplicate|again|repeated)' \
    'sed -i 3p spots/A2_selection.tsv'
damaged "a negative count" 'counts/A2.tsv.gz.*-3' 'edit counts/A2.tsv.gz "NR == 4 { \$5 = -3 } 1"'
damaged "a count that is no number" 'counts/A2.tsv.gz.*nan' \
    'edit counts/A2.tsv.gz "NR == 4 { \$5 = \"nan\" } 1"'
damaged "a count with a fraction" 'counts/A2.tsv.gz.*1\.5' 'edit counts/A2.tsv.gz "NR == 4 { \$5 = 1.5 } 1"'
damaged "a count too many" 'counts/A2.tsv.gz.*(line|row)' \
    'edit counts/A2.tsv.gz "NR == 4 { \$0 = \$0 \"\t1\" } 1"'
damaged "a proportion that is no number" 'proportions/A2_minor.tsv.*nan' \
    'sed -i "3s/\t[^\t]*/\tnan/" proportions/A2_minor.tsv'
damaged "spots off the picture" 'A2.*(outside|off|beyond|not in)' \
    'awk -F"\t" -v OFS="\t" "NR > 1 { \$5 += 90000 } 1" spots/A2_selection.tsv >edited
    mv edited spots/A2_selection.tsv'

# ---- stores and weights
size=$(stat -c %s t.h5)
for part in 0 7 100 2048 $((size / 4)) $((size / 2)) $((size - 1)); do
    head -c "$part" t.h5 >cut.h5
    fault "a store of its first $part bytes" 'cut.h5' x ./tiny train cut.h5 --out x
done
fault "a missing store" 'none.h5.*No such file' x ./tiny train none.h5 --out x
fault "a directory as store" 'tissue' x ./tiny train tissue --out x
./tiny24 prepare --from tissue --out t24.h5 >out 2>&1
fault "a store of other tiles" 't24.h5.*(24|12).*(24|12)' x ./tiny train t24.h5 --out x
./tiny_major prepare --from tissue --out tm.h5 >out 2>&1
fault "a store of other tables" 'tm.h5.*(minor|ranks|major)' x ./tiny train tm.h5 --out x
sed 's/else 8 /else 7 /' tiny.stm >seven.stm
"$stmc" seven.stm -o seven >out 2>&1
fault "another number of types" 't.h5.*8.*7|t.h5.*7.*8' x ./seven train t.h5 --out x
w=a/best.safetensors
predict() { # predict NAME PATTERN WEIGHTS
    fault "$1" "$2" x.csv ./tiny predict t.h5 --weights "$3" --out x.csv
}
predict "missing weights" 'none.safetensors.*No such file' none.safetensors
./tiny_major train tm.h5 --hold-out A3 --out m --epochs 1 >out 2>&1
predict "weights of another model" 'm/best.safetensors .safetensors. does not fit tiny' m/best.safetensors
cp out shapes
check "with both shapes" grep -Eq 'fc.weight.*4, 16.*8, 16|fc.weight.*8, 16.*4, 16' shapes
sed 's/fc\.bias/fc.bibs/' $w >renamed.safetensors
predict "weights that lack a name" 'renamed.safetensors|fc.bias' renamed.safetensors
whole=$(stat -c %s $w)
for part in 0 5 200 $((whole / 2)) $((whole - 1)); do
    head -c "$part" $w >cut.safetensors
    predict "weights of their first $part bytes" 'cut.safetensors' cut.safetensors
done
head -c 5000 /dev/urandom >noise.safetensors
predict "random bytes as weights" 'noise.safetensors' noise.safetensors
cp -r a broken_run
head -c 500 a/state.safetensors >broken_run/state.safetensors
expect 1 'broken_run/state.safetensors' "resuming from a damaged state" \
    ./tiny train t.h5 --hold-out A3 --out broken_run --resume --epochs 20

# ---- disks
ln -s /dev/full full.csv
expect 3 'full.csv.*No space left' "predictions into a full disk" \
    ./tiny predict t.h5 --weights $w --out full.csv --map none
expect 3 'No space left|cannot write' "evaluation into a full disk" \
    sh -c "./tiny evaluate t.h5 --weights $w --json >/dev/full"
expect 3 'none/x.csv.*there is no directory none/' "predictions into a missing directory" ./tiny predict t.h5 \
    --weights $w --out none/x.csv
fault "a run under a file" 't.h5/run: Not a directory' t.h5/run ./tiny train t.h5 --out t.h5/run
expect 3 'none/x.h5.*there is no directory none/' "a store in a missing directory" ./tiny prepare --from tissue \
    --out none/x.h5
absent "nothing was made" none
mkdir small
if [ "$(id -u)" -ne 0 ]; then
    chmod a-w small
    expect 3 'small.*Permission denied' "predictions into a closed directory" \
        ./tiny predict t.h5 --weights $w --out small/x.csv
    expect 3 'small.*Permission denied' "a run in a closed directory" ./tiny train t.h5 --out small/run
    expect 3 'small.*Permission denied' "a store in a closed directory" ./tiny prepare --from tissue \
        --out small/x.h5
    skip "tiny disks" "only root may mount one"
elif mount -t tmpfs -o size=24k tmpfs small 2>/dev/null; then
    mounted=$work/small
    fault "a store on a tiny disk" 'small/x.h5.*No space|No space.*small/x.h5' small/x.h5 \
        ./tiny prepare --from tissue --out small/x.h5
    fault "AnnData on a tiny disk" 'small/x.h5ad.*No space|No space.*small/x.h5ad' small/x.h5ad \
        ./tiny predict t.h5 --weights $w --out small/x.h5ad --map none
    expect 3 'small/run.*No space|No space.*small/run' "a run on a tiny disk" \
        ./tiny train t.h5 --hold-out A3 --out small/run
    mount -o remount,ro "$mounted"
    expect 3 'small.*Read-only' "predictions into a read-only directory" \
        ./tiny predict t.h5 --weights $w --out small/y.csv
    expect 3 'small.*Read-only' "a run in a read-only directory" ./tiny train t.h5 --out small/other
    expect 3 'small.*Read-only' "a store in a read-only directory" ./tiny prepare --from tissue --out \
        small/y.h5
    umount "$mounted" && mounted=
else
    skip "tiny and read-only disks" "mounting is not permitted here"
fi
check "nothing half-written is left" sh -c "! find . -name '.*tmp-*' | grep -q ."
finish
