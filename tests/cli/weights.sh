#!/usr/bin/env bash
# weights.sh BUILD: weights of elsewhere, as predict, evaluate and train --weights take them: every kind of file gives
# the same bytes, what does not fit is refused by name, and a training that starts from weights remembers which.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
given=$root/tests/data/reference/tiny # made by PyTorch: tests/data/reference_tiny.py
"$maketissue" tissue --sections 3 --spots 40 --width 500 --genes 80 >out 2>&1 || { cat out; exit 3; }
"$stmc" "$here/tiny.stm" -o tiny >out 2>&1 || { cat out; exit 3; }
./tiny prepare --from tissue --out t.h5 >out 2>&1 || { cat out; exit 3; }
predict() { ./tiny predict t.h5 --section A1 --weights "$1" --out "$2" --map none --threads 1; }

# ---- one answer, whatever the file
predict "$given/plain.safetensors" plain.csv >out 2>&1 || { cat out; exit 3; }
for file in plain.pth stream.bin f16.pt bf16.pt f64.pt plain.npz checkpoint.pth counter.pth; do
    expect 0 'spots' "predict from $file" predict "$given/$file" p.csv
    check "the same predictions from $file" cmp plain.csv p.csv
done
expect 0 'f16.pt: 8 tensors of F16 converted' "converting is said" predict "$given/f16.pt" p.csv
expect 0 'bf16.pt: 8 tensors of BF16 converted' "of BF16 too" predict "$given/bf16.pt" p.csv
expect 0 'f64.pt: 8 tensors of F64 converted' "of F64 too" predict "$given/f64.pt" p.csv
expect 0 "all 9 tensors of tiny are below the name 'state_dict.module.'" "a name taken off is said" \
    predict "$given/checkpoint.pth" p.csv
expect 0 "not read: [0-9]+ tensors outside of 'state_dict.module.'" "what else is in a checkpoint, too" \
    predict "$given/checkpoint.pth" p.csv
expect 0 'num_batches_tracked of 1 batch norm,' "a counter left out is said" predict "$given/counter.pth" p.csv
predict "$given/plain.pth" p.csv 2>notes >out
check "and nothing where there is nothing to say" test ! -s notes
./tiny evaluate t.h5 --weights "$given/plain.safetensors" --json >a.json 2>out
./tiny evaluate t.h5 --weights "$given/checkpoint.pth" --json >b.json 2>out
check "evaluate gives the same numbers" test "$(grep -v weights a.json)" = "$(grep -v weights b.json)"
check "and JSON alone on standard output" is_json b.json

# ---- refused, with everything that is wrong
expect 1 "more than once, below 'model.', 'ema.'" "weights twice in a file" predict "$given/twice.pth" x.csv
expect 1 'missing.pth \(torch archive\) does not fit tiny' "weights that do not fit" predict "$given/missing.pth" x.csv
for part in 'state_dict.fc.bias' 'state_dict.fc.scale' 'state_dict.conv.bias: file F32 \[5\], program f32 \[4\]'; do
    expect 1 "$part" "which names $part" predict "$given/missing.pth" x.csv
done
expect 1 'fc.bias: file text \[8\], program f32 \[8\]' "text instead of numbers" predict "$given/text.pth" x.csv
expect 1 'Odd' "a pickle of a class" predict "$root/tests/data/reference/weights/bad_user.pt" x.csv
expect 1 'missing:' "one array" predict "$root/tests/data/reference/weights/v1.npy" x.csv
expect 1 't.h5' "a store" predict t.h5 x.csv
head -c 3000 "$given/plain.pth" >cut.pth
expect 1 'cut.pth' "a file cut off" predict cut.pth x.csv
absent "nothing is written" x.csv

# ---- training from weights
train() { ./tiny train t.h5 --hold-out A3 --epochs 4 --threads 1 "$@"; }
train --out random >out 2>&1 || { cat out; exit 3; }
expect 0 "starting from $given/plain.safetensors" "train --weights" train --out a --weights "$given/plain.safetensors"
expect 0 'below the name' "from a checkpoint of PyTorch" train --out b --weights "$given/checkpoint.pth"
check "which trains to the same bytes" cmp a/last.safetensors b/last.safetensors
check "of weights and metrics" cmp a/metrics.jsonl b/metrics.jsonl
refute "others than from random ones" cmp a/last.safetensors random/last.safetensors
check "config.json says from which file" grep -q '"file": ".*/plain.safetensors"' a/config.json
check "and its hash" grep -q "\"sha256\": \"$(sha256sum "$given/plain.safetensors" | cut -d' ' -f1)\"" a/config.json
check "or that there was none" grep -q '"weights": null' random/config.json
train --out nothing --weights random/best.safetensors --lr 1e-6 --decay 0 --epochs 1 >out 2>&1
check "with the smallest rate little changes" holds \
    "$(./tiny evaluate t.h5 --weights random/best.safetensors --json 2>out >c.json; json_number loss c.json) / \
    $(./tiny evaluate t.h5 --weights nothing/last.safetensors --json 2>out >d.json; json_number loss d.json) < 1.2"
check "and settings are those of the command" grep -q '"lr": 1e-06' nothing/config.json

# stopped and resumed by the same command
train --out c --weights "$given/plain.safetensors" --epochs 2 >out 2>&1
expect 0 'resuming at epoch 3' "--resume with --weights" train --out c --weights "$given/plain.safetensors" --resume
check "ends in the same bytes" cmp a/last.safetensors c/last.safetensors
cp "$given/plain.safetensors" elsewhere.safetensors
train --out d --weights "$given/plain.safetensors" --epochs 2 >out 2>&1
expect 0 'resuming' "the same weights in another place" train --out d --weights elsewhere.safetensors --resume
train --out e --weights "$given/plain.safetensors" --epochs 2 >out 2>&1
expect 1 '\-\-weights: the run has sha256 .*, this command says nothing' "resumed without them" train --out e --resume
expect 1 '\-\-weights: the run has sha256' "resumed with others" \
    train --out e --resume --weights random/best.safetensors
expect 0 'starting from' "--resume of no run starts from them" \
    train --out f --resume --weights "$given/plain.safetensors" --epochs 1

# refused before anything is lost
expect 1 'is in --out' "weights of the run that is replaced" train --out a --overwrite --weights a/best.safetensors
expect 1 'does not fit tiny' "weights that do not fit" train --out a --overwrite --weights "$given/missing.pth"
expect 1 'No such file' "weights that are not there" train --out a --overwrite --weights none.pth
check "the old run is still whole" cmp a/last.safetensors c/last.safetensors
check "with its state" test -s a/state.safetensors
# the order of names along an axis is part of the weights
sed 's/"T cells\\", \\"B cells/"B cells\\", \\"T cells/' random/best.safetensors >turned.safetensors
refute "(the names were turned)" cmp -s random/best.safetensors turned.safetensors
expect 1 'axis type: .*was trained with B cells at place 3, these data have T cells' "names in another order" \
    train --out g --weights turned.safetensors
absent "leave no run" g/state.safetensors
finish
