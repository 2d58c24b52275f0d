#!/usr/bin/env bash
# From nothing to a picture: installs what is missing, builds, makes a small synthetic tissue, compiles HEVisum for it,
# trains, predicts the section that was held out, and leaves map, predictions and run in demo-out/.
# Under ten minutes on two cores; quick the second time.  EPOCHS=20 ./demo.sh trains longer.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
EPOCHS=${EPOCHS:-12}

say() { printf '\n== %s\n' "$*"; }

say "build"
build build
mkdir -p demo-out

say "a synthetic tissue: three sections, eight cell types that look different and drive the counts"
[ -f demo-out/tissue/counts/A3.tsv.gz ] || build/bin/maketissue demo-out/tissue

say "compile examples/hevisum/hevisum.stm for eight cell types"
build/bin/stmc examples/hevisum/hevisum.stm -D type=8 -o demo-out/hevisum

say "pictures, counts and positions become one store"
demo-out/hevisum prepare --from demo-out/tissue --depth minor --out demo-out/tissue.h5

say "train on two sections, hold out A3"
rm -rf demo-out/run
demo-out/hevisum train demo-out/tissue.h5 --hold-out A3 --out demo-out/run --epochs "$EPOCHS" --seed 1

say "predict the section that was not seen"
demo-out/hevisum predict demo-out/tissue.h5 --section A3 --weights demo-out/run/best.safetensors --out demo-out/A3.h5ad
demo-out/hevisum predict demo-out/tissue.h5 --section A3 --weights demo-out/run/best.safetensors --out demo-out/A3.csv
demo-out/hevisum evaluate demo-out/tissue.h5 --section A3 --weights demo-out/run/best.safetensors

say "done"
ls -1 demo-out/*.png demo-out/run/*.png demo-out/A3.h5ad demo-out/A3.csv
echo "look at: $(ls -1 "$PWD"/demo-out/*.png | head -n 1)"
