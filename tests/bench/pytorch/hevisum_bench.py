#!/usr/bin/env python3
"""The PyTorch side of the HEVisum benchmark: the same model, batch and step as our executable runs.

usage:
  hevisum_bench.py train [--batch 32] [--threads 2] [--steps 5] [--warmup 2] [options]
  hevisum_bench.py infer [--batch 32] [--threads 2] [--steps 5] [--warmup 2] [options]
  hevisum_bench.py first [--batch 32] [--threads 2] [--steps 3] [options]
options: --compile [MODE]  --channels-last  --fused-adamw  --no-dropout  --weights FILE  --interactive
         --device cpu|cuda  --precision f32|tf32|bf16 (bf16: autocast; f32 on a GPU forbids tf32 everywhere)

train: forward in training mode with dropout 0.1, MSE against ranks, backward, AdamW (lr 1e-3, decay 1e-3); a
step's time covers all of it, from the batch in memory to updated weights. infer: forward in evaluation mode
without gradients. first: starts this program anew STEPS times and times spawn to first finished prediction
(interpreter, imports, building, one forward). Inputs: uniform noise, four batches in turn, ready in memory; on a
GPU in its memory. A step on a GPU ends when its loss (or its prediction) is there.

Output: one JSON object a line.
  {"event": "ready", "torch": ..., "threads": ..., "setup_ms": ..., ...}   after building, before any step
  {"event": "step", "phase": "warmup"|"timed", "index": i, "ms": t, "loss": l}
  {"event": "done", "steps": n, "min_ms": ..., "median_ms": ..., "max_ms": ..., "peak_rss_bytes": ...}
peak_rss_bytes is of the process that runs the model; the workers of torch.compile are not in it.

--interactive: after "ready" and the "done" of the warm-up (none with --warmup 0), each line of standard input
that holds a number K runs K timed steps and prints their lines and a "done"; an empty line, "quit" or the end
of input ends the program. An outer script can so alternate it with another program.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

STARTED = time.perf_counter()


def say(**event):
    print(json.dumps(event), flush=True)


def peak_rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("train", "infer", "first"))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="timed steps")
    parser.add_argument(
        "--warmup", type=int, default=2, help="steps before the timed ones; printed, not counted"
    )
    parser.add_argument(
        "--compile",
        nargs="?",
        const="default",
        metavar="MODE",
        help="torch.compile with this mode (default, max-autotune, ...)",
    )
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument(
        "--fused-adamw", action="store_true", help="the single-kernel AdamW instead of the default"
    )
    parser.add_argument("--no-dropout", action="store_true")
    parser.add_argument("--weights", help="a safetensors file with the 288 entries; strict")
    parser.add_argument("--interactive", action="store_true")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("f32", "tf32", "bf16"), default="f32")
    found = parser.parse_args()
    for name in ("batch", "threads", "steps"):
        if getattr(found, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if found.warmup < 0:
        parser.error("--warmup must not be negative")
    if found.command == "first" and found.interactive:
        parser.error("first starts processes of its own; --interactive belongs to train and infer")
    return found


def first(options):
    """Times spawn to the first prediction's line, several times in a row."""
    command = [
        sys.executable,
        os.path.abspath(__file__),
        "infer",
        "--warmup",
        "0",
        "--steps",
        "1",
        "--batch",
        str(options.batch),
        "--threads",
        str(options.threads),
    ]
    if options.compile:
        command += ["--compile", options.compile]
    if options.channels_last:
        command += ["--channels-last"]
    if options.weights:
        command += ["--weights", options.weights]
    times = []
    for index in range(options.steps):
        begun = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            for line in child.stdout:
                event = json.loads(line)
                if event["event"] == "step":
                    times.append(1e3 * (time.perf_counter() - begun))
                    say(event="step", phase="timed", index=index, ms=times[-1], forward_ms=event["ms"])
                elif event["event"] == "done":
                    rss = event["peak_rss_bytes"]
        if child.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with status {child.returncode}")
    finish(times, rss)


def finish(times, rss):
    ordered = sorted(times)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else 0.5 * (ordered[middle - 1] + ordered[middle])
    say(
        event="done",
        steps=len(ordered),
        min_ms=ordered[0],
        median_ms=median,
        max_ms=ordered[-1],
        peak_rss_bytes=rss,
    )


def make_step(options):
    """Returns (step, description): step() runs one step or prediction, returns its loss or None."""
    import torch

    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "parity"))
    import hevisum_model

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = hevisum_model.build(35, dropout=0.0 if options.no_dropout else 0.1)
    if options.weights:
        from safetensors.torch import load_file

        model.load_state_dict(load_file(options.weights), strict=True)
    batches = []
    for _ in range(4 if options.warmup + options.steps > 1 or options.interactive else 1):
        tile = torch.rand(options.batch, 3, 78, 78)
        label = torch.rand(options.batch, 35).argsort(1).argsort(1).float() + 1
        batches.append(tuple(t.to(options.device) for t in (tile, hevisum_model.cut_subtiles(tile), label)))
    model = model.to(options.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
    torch.backends.cudnn.benchmark = True

    def automatic():
        return torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.precision == "bf16")

    def wait():
        if options.device == "cuda":
            torch.cuda.synchronize()

    if options.channels_last:
        # the five-dimensional subtiles stay as they are; the first convolution reorders them
        model = model.to(memory_format=torch.channels_last)
        batches = [
            (tile.contiguous(memory_format=torch.channels_last), subtiles, label)
            for tile, subtiles, label in batches
        ]
    forward = torch.compile(model, mode=options.compile) if options.compile else model
    turn = 0

    if options.command == "infer":
        model.eval()

        def step():
            nonlocal turn
            tile, subtiles, _ = batches[turn % len(batches)]
            turn += 1
            with torch.inference_mode(), automatic():
                forward(tile, subtiles)
            wait()

    else:
        model.train()
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=1e-3, weight_decay=1e-3, fused=True if options.fused_adamw else None
        )

        def step():
            nonlocal turn
            tile, subtiles, label = batches[turn % len(batches)]
            turn += 1
            optimizer.zero_grad()
            with automatic():
                loss = torch.nn.functional.mse_loss(forward(tile, subtiles).float(), label)
            loss.backward()
            optimizer.step()
            loss = loss.item()
            wait()
            return loss

    return step, {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "precision": options.precision,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def run(step, count, phase):
    times = []
    for index in range(count):
        begun = time.perf_counter()
        loss = step()
        times.append(1e3 * (time.perf_counter() - begun))
        event = {"event": "step", "phase": phase, "index": index, "ms": times[-1]}
        say(**event, **({} if loss is None else {"loss": loss}))
    return times


def main():
    options = arguments()
    if options.command == "first":
        first(options)
        return
    step, description = make_step(options)
    say(
        event="ready",
        command=options.command,
        batch=options.batch,
        compile=options.compile,
        channels_last=options.channels_last,
        fused_adamw=options.fused_adamw,
        dropout=0.0 if options.no_dropout else 0.1,
        setup_ms=1e3 * (time.perf_counter() - STARTED),
        **description,
    )
    warm = run(step, options.warmup, "warmup")
    if not options.interactive:
        finish(run(step, options.steps, "timed"), peak_rss())
        return
    if warm:
        finish(warm, peak_rss())
    for line in sys.stdin:
        word = line.strip()
        if word in ("", "quit"):
            break
        if not word.isdigit() or int(word) < 1:
            sys.exit(f"standard input: '{word}' is not a number of steps (1 or more), an empty line or quit")
        finish(run(step, int(word), "timed"), peak_rss())


if __name__ == "__main__":
    main()
