#!/usr/bin/env python3
"""Single operations in PyTorch on a GPU, for tests/gpu/run.sh: what our kernels are measured against.

usage: kernels_bench.py [--precision f32|tf32|bf16] [--repeats 20]

Prints one JSON object: the copy bandwidth of the device (a copy of 256 MB, read and write counted), the rate of
plain products through cuBLAS, and for each convolution of HEVisum the times that cuDNN needs for the forward
direction, and for forward and both gradients, at a batch of 32 spots (patches: 9 * 32). Channels last, as our kernels store
activations; cuDNN picks its algorithms by trying them (benchmark mode). Times: median over repeats, in ms.
"""

import argparse
import json
import statistics

import torch

# HEVisum's convolutions: pixels a side, channels in, channels out, kernel; tiles at 1 image a spot, patches at 9.
TILES = [(78, 3, 32, 3), (39, 32, 64, 3), (39, 64, 64, 3), (19, 64, 128, 3), (19, 128, 128, 3), (9, 128, 256, 3), (9, 256, 256, 3)]
PATCHES = [(26, 3, 32, 3), (13, 32, 64, 3), (13, 64, 64, 3), (6, 64, 128, 3), (6, 128, 128, 3)]
PRODUCTS = [(8192, 1024, 1024), (4096, 4096, 4096), (256, 2560, 512)]


def timed(work, repeats):
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=("f32", "tf32", "bf16"), default="tf32")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
    torch.backends.cudnn.benchmark = True
    kind = torch.bfloat16 if options.precision == "bf16" else torch.float32
    a, b = torch.empty(1 << 26, device="cuda"), torch.empty(1 << 26, device="cuda")
    found = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "precision": options.precision,
        "copy_gb_per_s": 2 * a.numel() * 4 / timed(lambda: b.copy_(a), options.repeats) / 1e6,
        "products": [],
        "convolutions": [],
    }
    for m, n, k in PRODUCTS:
        x, w = torch.randn(m, k, device="cuda", dtype=kind), torch.randn(n, k, device="cuda", dtype=kind)
        ms = timed(lambda: torch.nn.functional.linear(x, w), options.repeats)
        found["products"].append({"m": m, "n": n, "k": k, "ms": ms, "tflops": 2 * m * n * k / ms / 1e9})
    for images, shapes in ((32, TILES), (9 * 32, PATCHES)):
        for side, channels, out, kernel in shapes:
            layer = torch.nn.Conv2d(channels, out, kernel, padding=kernel // 2, device="cuda", dtype=kind)
            layer = layer.to(memory_format=torch.channels_last)
            x = torch.randn(images, channels, side, side, device="cuda", dtype=kind)
            x = x.to(memory_format=torch.channels_last).requires_grad_(True)
            g = torch.randn_like(layer(x))

            def both():
                layer(x).backward(g)

            with torch.no_grad():
                forward = timed(lambda: layer(x), options.repeats)
            found["convolutions"].append(
                {"images": images, "side": side, "channels": channels, "out": out, "kernel": kernel,
                 "forward_ms": forward, "all_ms": timed(both, options.repeats)}
            )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
