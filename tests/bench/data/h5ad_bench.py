"""Reading a CSR .h5ad and selecting 1,000 genes: stmc's reader against anndata, in turns, on a made file.

    python tests/bench/data/h5ad_bench.py BUILD/bin/h5ad_bench [--rows 20000] [--per-row 2000] [--turns 9] [--keep DIR]

Makes the file uncompressed (anndata's default) and with gzip; both sides read it from the page cache. Warm: both sides
are processes that have read the file once before and take turns. anndata reads in each of the usual ways, and the
fastest counts: the whole file, then [:, genes]; and backed, [:, genes].to_memory(). Whole processes: start, imports,
reading, exit. Every turn checks that both sides see the same numbers.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

import anndata
import h5py
import numpy as np

GENES, WANTED = 36000, 1000


def make(path, rows, per_row, gzip):
    random = np.random.default_rng(7)
    with h5py.File(path, "w") as f:
        f.attrs["encoding-type"], f.attrs["encoding-version"] = "anndata", "0.1.0"
        x = f.create_group("X")
        x.attrs["encoding-type"], x.attrs["encoding-version"] = "csr_matrix", "0.1.0"
        x.attrs["shape"] = np.array([rows, GENES])
        nnz = rows * per_row
        how = dict(maxshape=(None,), **(dict(compression="gzip") if gzip else {}))
        data = x.create_dataset("data", (nnz,), "f4", **how)
        indices = x.create_dataset("indices", (nnz,), "i4", **how)
        x["indptr"] = np.arange(0, nnz + 1, per_row)
        step = 2000
        widest = 2 * GENES // per_row - 2  # gaps that keep the last index below GENES but for a tiny chance
        for first in range(0, rows, step):
            gaps = random.integers(1, widest, (min(step, rows - first), per_row))
            columns = np.minimum(np.cumsum(gaps, axis=1), GENES - per_row + np.arange(per_row)) - 1
            values = random.geometric(0.4, columns.shape)
            data[first * per_row : (first + len(columns)) * per_row] = values.ravel().astype("f4")
            indices[first * per_row : (first + len(columns)) * per_row] = columns.ravel().astype("i4")
        for name, count, letter in (("obs", rows, "c"), ("var", GENES, "g")):
            g = f.create_group(name)
            g.attrs["encoding-type"], g.attrs["encoding-version"] = "dataframe", "0.2.0"
            g.attrs["_index"], g.attrs["column-order"] = "_index", np.array([], dtype=h5py.string_dtype())
            g["_index"] = np.array([f"{letter}{i}" for i in range(count)], dtype=h5py.string_dtype())
            g["_index"].attrs["encoding-type"], g["_index"].attrs["encoding-version"] = "string-array", "0.2.0"
        for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
            f.create_group(name).attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})


WAYS = {
    "whole": lambda path, genes: anndata.read_h5ad(path)[:, genes].to_memory(),
    "whole, X alone": lambda path, genes: anndata.read_h5ad(path)[:, genes].X,
    "backed": lambda path, genes: anndata.read_h5ad(path, backed="r")[:, genes].to_memory(),
}


def theirs(way, path, genes):
    begin, cpu = time.perf_counter(), time.process_time()
    x = WAYS[way](path, genes)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    x = getattr(x, "X", x)
    return seconds, (*x.shape, x.nnz, float(x.sum(dtype="f8"))), cpu


def parsed(line):
    out = line.split()
    return float(out[0]), (int(out[1]), int(out[2]), int(out[3]), float(out[4])), float(out[7]), float(out[5])


def same(a, b):
    assert a[:3] == b[:3] and abs(a[3] - b[3]) <= 1e-9 * abs(b[3]), (a, b)


def warm(program, path, genes_path, genes, turns):
    """Seconds and processor seconds of each side, turn by turn; the first turn of each is not counted."""
    times = {"stmc": []} | {way: [] for way in WAYS}
    cpu = {name: [] for name in times}
    memory = 0
    with subprocess.Popen([program, path, genes_path, "turns"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        for turn in range(turns + 1):
            process.stdin.write("\n")
            process.stdin.flush()
            seconds, numbers, used, memory = parsed(process.stdout.readline())
            for name in times:
                if name != "stmc":
                    seconds, peer, used = theirs(name, path, genes)
                    same(numbers, peer)
                if turn:
                    times[name].append(seconds)
                    cpu[name].append(used)
        process.stdin.close()
    return times, cpu, memory


def process_time(command):
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def whole(program, path, genes_path, turns):
    code = (
        "import anndata, sys; a = anndata.read_h5ad(sys.argv[1])[:, open(sys.argv[2]).read().split()].to_memory(); "
        "print(a.X.sum())"
    )
    mine, peer = [], []
    for _ in range(turns):
        mine.append(process_time([program, path, genes_path]))
        peer.append(process_time([sys.executable, "-c", code, path, genes_path]))
    return mine, peer


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--per-row", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--keep", help="directory for the made files, reused when there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or scratch
        wanted = [f"g{i}" for i in sorted(np.random.default_rng(3).choice(GENES, WANTED, replace=False))]
        genes_path = os.path.join(folder, "genes.txt")
        with open(genes_path, "w") as f:
            f.write("\n".join(wanted) + "\n")
        for gzip in (False, True):
            path = os.path.join(folder, f"made_{arguments.rows}_{arguments.per_row}_{'gzip' if gzip else 'plain'}.h5ad")
            if not os.path.exists(path):
                make(path, arguments.rows, arguments.per_row, gzip)
            times, cpu, memory = warm(arguments.program, path, genes_path, wanted, arguments.turns)
            print(f"{'gzip' if gzip else 'plain'}, {os.path.getsize(path) / 1e6:.1f} MB; child's peak {memory:.0f} MB")
            best = min(WAYS, key=lambda way: np.median(times[way]))
            for name, seconds in times.items():
                ratio = np.array(seconds) / np.array(times["stmc"])
                mark = "" if name == "stmc" else (
                    f"  ratio: best/best {min(seconds) / min(times['stmc']):.2f}, turn by turn "
                    f"{min(ratio):.2f} / {np.median(ratio):.2f} / {max(ratio):.2f}"
                    f"{'  <- fastest way' if name == best else ''}"
                )
                print(f"  warm {name:15} best {min(seconds):.3f} s, median {np.median(seconds):.3f} s, processor "
                      f"{np.median(cpu[name]):.2f} s{mark}")
            mine, peer = whole(arguments.program, path, genes_path, max(2, arguments.turns // 3))
            print(f"  whole processes: stmc {np.median(mine):.3f} s, anndata {np.median(peer):.3f} s: "
                  f"{np.median(peer) / np.median(mine):.1f}", flush=True)


if __name__ == "__main__":
    main()
