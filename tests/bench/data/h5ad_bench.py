"""Reading a CSR .h5ad and selecting 1,000 genes: stmc's reader against anndata, in turns, on a made file.

    python tests/bench/data/h5ad_bench.py BUILD/bin/h5ad_bench [--rows 20000] [--per-row 2000] [--turns 5] [--keep DIR]

Makes the file uncompressed (anndata's default) and with gzip, drops nothing from the page cache (both sides read it
warm), takes the best of the turns, and checks that both sides see the same numbers.
"""
import argparse
import os
import subprocess
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


def theirs(path, genes):
    begin, cpu = time.perf_counter(), time.process_time()
    x = anndata.read_h5ad(path)[:, genes].X
    return time.perf_counter() - begin, x.shape, x.nnz, float(x.sum(dtype="f8")), time.process_time() - cpu


def ours(program, path, genes_path):
    out = subprocess.run([program, path, genes_path], check=True, capture_output=True, text=True).stdout.split()
    return float(out[0]), (int(out[1]), int(out[2])), int(out[3]), float(out[4]), float(out[7]), float(out[5])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--per-row", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=5)
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
            mine, peer, my_cpu, peer_cpu, memory = [], [], [], [], 0
            for _ in range(arguments.turns):
                a = ours(arguments.program, path, genes_path)
                b = theirs(path, wanted)
                assert a[1] == b[1] and a[2] == b[2] and abs(a[3] - b[3]) <= 1e-9 * abs(b[3]), (a, b)
                mine.append(a[0])
                peer.append(b[0])
                my_cpu.append(a[4])
                peer_cpu.append(b[4])
                memory = max(memory, a[5])
            print(
                f"{'gzip ' if gzip else 'plain'} {os.path.getsize(path) / 1e6:7.1f} MB: stmc {min(mine):.3f} s, "
                f"anndata {min(peer):.3f} s, ratio {min(peer) / min(mine):.2f} (medians {np.median(mine):.3f}, "
                f"{np.median(peer):.3f}: {np.median(peer) / np.median(mine):.2f}; processor time {min(my_cpu):.2f} and "
                f"{min(peer_cpu):.2f} s: {min(peer_cpu) / min(my_cpu):.2f}); child's peak {memory:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
