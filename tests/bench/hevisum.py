"""HEVisum: our executable beside PyTorch, alternating in one run; ratios with min / median / max.

    build/bin/stmc examples/hevisum/hevisum.stm -D type=35 -o build/hevisum35
    build/parity-venv/bin/python tests/bench/hevisum.py build/hevisum35 [--rounds 8] [--threads 2] [--peer eager|channels_last|compiled]

On a GPU: --device cuda --precision tf32|bf16 with an executable made with --target cpu,cuda and the same precision
(tests/gpu/run.sh does that). Each round runs a few steps of one side, then of the other; a round's figure is its median step. Peak memory is what
the operating system says of each process (VmHWM), both trained at the same batch. Only whole rounds count; a warm-up round of each side is
thrown away. Needs the environment of tests/parity/make_venv.sh; never run by ./test.sh.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PEER = next(
    path for path in (os.path.join(HERE, "pytorch", "hevisum_bench.py"), os.path.join(HERE, "hevisum_bench.py")) if os.path.exists(path)
)


def spread(values):
    return min(values), statistics.median(values), max(values)


def show(name, values, unit):
    low, middle, high = spread(values)
    print(f"{name:34} {low:9.2f} {middle:9.2f} {high:9.2f}  {unit}")


class Ours:
    def __init__(self, exe, job, options):
        self.job = job
        device = ["--device", options.device] if options.device != "cpu" else []
        self.process = subprocess.Popen(
            [exe, "bench", "--interactive", "--batch", str(options.batch), "--threads", str(options.threads), *device],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def run(self, steps):
        self.process.stdin.write(f"{self.job} {steps}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "ms" not in answer:
            sys.exit(f"our side: {answer}")
        return statistics.median(answer["ms"])

    def peak(self):
        with open(f"/proc/{self.process.pid}/status") as lines:
            return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Peer(Ours):
    def __init__(self, job, options):
        extra = {"eager": [], "channels_last": ["--channels-last"], "compiled": ["--compile"]}[options.peer]
        extra += ["--channels-last"] if options.channels_last and options.peer != "channels_last" else []
        extra += ["--device", options.device, "--precision", options.precision] if options.device != "cpu" else []
        extra += ["--fused-adamw"] if options.device != "cpu" else []
        self.process = subprocess.Popen(
            [sys.executable, PEER, job, "--interactive", "--warmup", "2", "--batch", str(options.batch),
             "--threads", str(options.threads), *extra],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.until_done()

    def until_done(self):
        times = []
        for line in self.process.stdout:
            event = json.loads(line)
            if event.get("event") == "step":
                times.append(event["ms"])
            if event.get("event") == "done":
                return times
        sys.exit("the PyTorch side ended early")

    def run(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return statistics.median(self.until_done())


def compare(exe, job, options, rounds, steps):
    ours, peer = Ours(exe, job, options), Peer(job, options)
    a, b = [], []
    ours.run(max(2, steps)), peer.run(max(2, steps))
    for _ in range(rounds):
        a.append(ours.run(steps))
        b.append(peer.run(steps))
    print(f"\n{job}, batch {options.batch}, {options.threads} threads, {rounds} rounds of {steps} steps       min    median       max")
    show("stmc", a, "ms a step")
    show(f"PyTorch {options.peer}", b, "ms a step")
    show("ratio stmc / PyTorch", [x / y for x, y in zip(a, b)], "")
    p, q = ours.peak(), peer.peak()
    print(f"peak resident memory: stmc {p:.0f} MB, PyTorch {q:.0f} MB, ratio {p / q:.2f}")
    ours.close(), peer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exe")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda; an executable with that code")
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32", help="of the peer on a GPU")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--jobs", choices=["train", "infer", "both"], default="both")
    parser.add_argument("--peer", choices=["eager", "channels_last", "compiled"], default="eager")
    options = parser.parse_args()
    exe = os.path.abspath(options.exe)
    print(f"executable: {os.path.getsize(exe) / 1e6:.1f} MB; load average {os.getloadavg()[0]:.2f}")
    if options.jobs != "infer":
        compare(exe, "train", options, options.rounds, options.steps)
    if options.jobs != "train":
        compare(exe, "infer", options, options.rounds, 2 * options.steps)
    print(f"load average {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
