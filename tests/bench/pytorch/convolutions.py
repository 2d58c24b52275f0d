#!/usr/bin/env python3
"""Our convolutions beside cuDNN's, shape by shape: convolutions.py OURS.json TORCH.json

OURS.json is `workbench_convolution bench --device cuda --profile --json`, TORCH.json what kernels_bench.py printed. The
time of a shape is that of all kernels of its layer in a training step (packing of weights, partial sums and the gradient of
the bias included) and, on the other side, forward and backward of the layer. Prints a table, then one line of JSON.
"""

import json
import sys


def main():
    ours, peer = (json.load(open(name)) for name in sys.argv[1:3])
    steps = ours["train"]["steps"]
    times = {}
    for row in ours["profile"]:
        layer = row["origin"].split(".")[0]
        if row["kernel"].startswith(("conv", "gemm", "pack")):
            times[layer] = times.get(layer, 0) + row["ms"] / row["calls"] * row["steps"]
    found = []
    print(f"{'shape':16} {'stmc ms':>9} {'cuDNN ms':>9} {'cuDNN / stmc':>13}   ({peer['precision']}, {steps} steps)")
    for shape in peer["convolutions"]:
        side, channels, out = shape["side"], shape["channels"], shape["out"]
        layer = f"{'t' if shape['images'] == 32 else 'p'}{side}_{channels}_{out}"
        if layer not in times:
            sys.exit(f"{sys.argv[1]} has no kernels of the layer {layer}; it has {', '.join(sorted(times))}")
        found.append({"layer": layer, "stmc_ms": times[layer], "cudnn_ms": shape["all_ms"], "ratio": shape["all_ms"] / times[layer]})
        print(f"{layer:16} {times[layer]:9.4f} {shape['all_ms']:9.4f} {found[-1]['ratio']:13.2f}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
