#!/usr/bin/env python3
"""Records the HEVisum reference, hevisum.safetensors, from the model of hevisum_model.py at full width.

usage: hevisum_reference.py [--out FILE] [--threads N]

What is run
  Weights: pattern.parameter(name, shape) for all 288 entries of the state_dict (pattern.h in C). Inputs:
  sample n has tile bytes pattern_tile_byte(n, c, i, j) / 255 (f32 division), subtiles cut from the tile
  (index 3 * row + column), labels pattern_rank(n, k). Batch s (0..9) is samples 8 s .. 8 s + 7. No dropout.
    eval         forward in evaluation mode on batch 0 (initial running statistics), MSE, its gradients
    train        forward in training mode on batch 0, MSE, its gradients (weights not yet changed)
    step1/state  the state_dict after one AdamW step (settings of `steps`) on batch 0
    steps        AdamW, lr 1e-3, betas 0.9 0.999, eps 1e-8, weight decay 1e-3 on everything, one step on each
                 of batches 0..9: the loss of each step (before its update), the state_dict after the tenth,
                 and the evaluation-mode output on batch 0 with that state
    gentle       the same with lr 1e-4: at 1e-3 rounding differences grow several-fold per step (a property of
                 this model with batches of 8), at 1e-4 far less, so this one can be held tighter
  Each is run three times from the same f32-representable values: `f64` (the reference), `f32` (PyTorch as it
  comes) and `f32_native` (PyTorch without oneDNN: another order of f32 summation). The distance of the two
  f32 runs from f64 is what f32 can be expected to reach; README.md derives tolerances from it.

What the file holds, P in {f64, f32, f32_native}, M in {eval, train}, R in {steps, gentle}; f64 unless said;
  the [288,24] tables of f32_native are measured by this script but not kept
    names               u8     the 288 names, each ended by a newline; row r of every table is name r
    activation_names    u8     likewise for the activation tables
    kind                i64[288]   0 parameter; 1 bias of a convolution in front of a batch norm (in training
                               its gradient is zero but for rounding, so Adam turns noise into steps: not
                               comparable after an update); 2 running statistic; 3 counter
    shape               i64[288,5] rank, then extents, then zeros
    init                [288,24]   summaries of the initial values
    P/M/output          [8,35]
    P/M/loss            [1]
    P/M/grad            [288,24]   gradients of the loss; rows of kind 2 and 3 are zero
    P/M/grad_inputs     [2,24]     gradient for tile and for subtiles, as independent inputs
    P/M/activations     [A,24]     outputs of the blocks named in activation_names
    P/step1/state       [288,24]
    P/R/loss            [10]
    P/R/state           [288,24]
    P/R/eval_output     [8,35]
  A summary row of a tensor with n elements (row-major): n, sum, l2 norm, largest magnitude, the first 8
  elements (zero beyond n), 12 samples at linear indices floor(k (n-1) / 11), k = 0..11.
"""

import argparse
import os

import numpy as np
import torch
from safetensors.numpy import save_file

import pattern
from hevisum_model import build, cut_subtiles

BATCH, STEPS, OUTPUTS = 8, 10, 35
RANK_STEPS = (2, 3, 4, 6, 8, 9, 11, 12)
ENCODERS = {"encoder_tile": 4, "encoder_subtile": 3, "encoder_center": 3}  # name: number of layers
ACTIVATIONS = [
    f"{e}.{layer}" for e, n in ENCODERS.items() for layer in [*(f"layer{i}" for i in range(n)), "fc"]
]


def hashed(stream, index):
    with np.errstate(over="ignore"):
        z = np.uint64(stream) + (index + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def tile_bytes(first, count):
    """u8[count,3,78,78]: pattern_tile_byte of pattern.h."""
    stream = pattern.key("hevisum.tile")
    plane = np.arange(first * 3, (first + count) * 3, dtype=np.uint64)
    level = hashed(stream ^ 1, plane) >> np.uint64(58)
    block = hashed(
        stream ^ 2, (plane[:, None] * np.uint64(36) + np.arange(36, dtype=np.uint64))
    ) >> np.uint64(57)
    block = block.reshape(-1, 6, 6).repeat(13, axis=1).repeat(13, axis=2)
    noise = hashed(stream ^ 3, plane[:, None] * np.uint64(78 * 78) + np.arange(78 * 78, dtype=np.uint64))
    total = level[:, None, None] + block + (noise >> np.uint64(58)).reshape(-1, 78, 78)
    return total.astype(np.uint8).reshape(count, 3, 78, 78)


def batch(step, dtype):
    first = step * BATCH
    tile = torch.from_numpy(tile_bytes(first, BATCH).astype(np.float32) / np.float32(255)).to(dtype)
    labels = [
        [(k * RANK_STEPS[n % 8] + 5 * n) % 35 + 1 for k in range(OUTPUTS)]
        for n in range(first, first + BATCH)
    ]
    assert all(sorted(row) == list(range(1, 36)) for row in labels)
    return tile, cut_subtiles(tile), torch.tensor(labels, dtype=dtype)


def lines(names):
    return np.frombuffer("".join(name + "\n" for name in names).encode(), dtype=np.uint8)


def summary(tensor):
    flat = tensor.detach().to(torch.float64).reshape(-1)
    n = flat.numel()
    row = np.zeros(24)
    row[:4] = n, flat.sum().item(), flat.norm().item(), flat.abs().max().item()
    head = flat[:8].numpy()
    row[4 : 4 + len(head)] = head
    row[12:] = flat[[k * (n - 1) // 11 for k in range(12)]].numpy()
    return row


def initialise(model, dtype):
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(torch.from_numpy(pattern.parameter(name, tuple(value.shape))))
    return model.to(dtype)


def table(model):
    return np.stack([summary(value) for value in model.state_dict().values()])


def gradients(model):
    found = {name: p.grad for name, p in model.named_parameters()}
    return np.stack([summary(found[name]) if name in found else np.zeros(24) for name in model.state_dict()])


def kinds(model):
    parameters = dict(model.named_parameters())
    normalised = ("layer0.0.bias", "conv1.bias", "conv2.bias", "shortcut.0.bias")
    return np.array(
        [
            (
                3
                if name.endswith("num_batches_tracked")
                else 2 if name not in parameters else 1 if name.endswith(normalised) else 0
            )
            for name in model.state_dict()
        ],
        dtype=np.int64,
    )


def run(prefix, dtype, record):
    model = initialise(build(OUTPUTS, dropout=0.0), dtype)
    if prefix == "f64":
        record["init"] = table(model)
        record["kind"] = kinds(model)
        shapes = [tuple(value.shape) for value in model.state_dict().values()]
        record["shape"] = np.array([[len(s), *s] + [0] * (4 - len(s)) for s in shapes], dtype=np.int64)
        record["names"] = lines(model.state_dict())
        record["activation_names"] = lines(ACTIVATIONS)

    seen = {}
    for name in ACTIVATIONS:
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.__setitem__(name, output)
        )

    start = {name: value.clone() for name, value in model.state_dict().items()}
    for mode in ("eval", "train"):
        model.train(mode == "train")
        model.load_state_dict(start)
        model.zero_grad()
        tile, subtiles, label = batch(0, dtype)
        tile.requires_grad_()
        subtiles.requires_grad_()
        output = model(tile, subtiles)
        loss = torch.nn.functional.mse_loss(output, label)
        loss.backward()
        record[f"{prefix}/{mode}/output"] = output.detach().double().numpy()
        record[f"{prefix}/{mode}/loss"] = np.array([loss.item()])
        record[f"{prefix}/{mode}/grad"] = gradients(model)
        record[f"{prefix}/{mode}/grad_inputs"] = np.stack([summary(tile.grad), summary(subtiles.grad)])
        record[f"{prefix}/{mode}/activations"] = np.stack([summary(seen[name]) for name in ACTIVATIONS])

    for run_name, rate in (("steps", 1e-3), ("gentle", 1e-4)):
        model.load_state_dict(start)
        model.train()
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-3
        )
        losses = []
        for step in range(STEPS):
            tile, subtiles, label = batch(step, dtype)
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(tile, subtiles), label)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if step == 0 and run_name == "steps":
                record[f"{prefix}/step1/state"] = table(model)
        record[f"{prefix}/{run_name}/loss"] = np.array(losses)
        record[f"{prefix}/{run_name}/state"] = table(model)
        model.eval()
        with torch.no_grad():
            tile, subtiles, _ = batch(0, dtype)
            record[f"{prefix}/{run_name}/eval_output"] = model(tile, subtiles).double().numpy()


def spread(record):
    """Prints how far the f32 runs are from f64: the worst row, relative to its own scale."""
    keep = record["kind"] == 0
    for prefix in ("f32", "f32_native"):
        for name, value in record.items():
            if not name.startswith(prefix + "/"):
                continue
            reference = record["f64/" + name.split("/", 1)[1]]
            if value.ndim == 2 and value.shape[1] == 24:
                rows = keep if len(value) == len(keep) else slice(None)
                a, b = value[rows], reference[rows]
                rms = np.maximum(b[:, 2] / np.sqrt(np.maximum(b[:, 0], 1)), 1e-300)
                norm = np.abs(a[:, 2] - b[:, 2]) / np.maximum(b[:, 2], 1e-300)
                element = np.abs(a[:, 4:] - b[:, 4:]).max(axis=1) / rms
                print(f"{name:32s} norm {norm.max():.1e} relative, elements {element.max():.1e} of the rms")
            else:
                worst = np.abs(value - reference).max()
                share = worst / np.abs(reference).max()
                print(f"{name:32s} absolute {worst:.1e}, relative to largest {share:.1e}")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default=os.path.join(here, "hevisum.safetensors"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    record = {}
    run("f64", torch.float64, record)
    run("f32", torch.float32, record)
    with torch.backends.mkldnn.flags(enabled=False):
        run("f32_native", torch.float32, record)
    kept = {
        name: np.ascontiguousarray(value)
        for name, value in record.items()
        if not (name.startswith("f32_native/") and len(value) == len(record["kind"]))
    }
    save_file(
        kept,
        arguments.out,
        # one key only: the writer's order of several changes from run to run
        metadata={"made_by": f"tests/parity/hevisum_reference.py with PyTorch {torch.__version__}"},
    )
    os.chmod(arguments.out, 0o644)
    print("f64 losses:", " ".join(f"{x:.6f}" for x in record["f64/steps/loss"]))
    for mode in ("eval", "train"):
        output = record[f"f64/{mode}/output"]
        print(f"f64/{mode}: output {output.min():.3f} .. {output.max():.3f}")
        for name, row in zip(ACTIVATIONS, record[f"f64/{mode}/activations"]):
            print(f"    {name:24s} rms {row[2] / np.sqrt(row[0]):.3f}, largest {row[3]:.3f}")
    spread(record)
    print(f"{arguments.out}: {os.path.getsize(arguments.out)} bytes")


if __name__ == "__main__":
    main()
