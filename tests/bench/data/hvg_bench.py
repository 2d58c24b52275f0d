"""10x HDF5 to the 2,000 most variable genes: stmc against scanpy, in turns, flavours seurat and seurat_v3.

    python tests/bench/data/hvg_bench.py BUILD/bin/hvg_bench FILE.h5 [--turns 15]

Both sides read the file from the page cache with all annotations and end with the list of genes, which must be the same
on both sides in every turn (seurat_v3: in order of rank, but for genes of equal score). Warm: processes that have done
it once before. Whole processes: start, imports, work, exit. What scanpy's user writes is in `theirs`.
"""
import argparse
import subprocess
import sys
import time
import warnings

import numpy as np

CODE = """
import scanpy, sys, warnings
warnings.simplefilter("ignore")
def theirs(path, flavour):
    a = scanpy.read_10x_h5(path)
    a.var_names_make_unique()
    if flavour == "seurat":
        scanpy.pp.normalize_total(a)
        scanpy.pp.log1p(a)
    scanpy.pp.highly_variable_genes(a, n_top_genes=2000, flavor=flavour)
    return a
"""
exec(CODE)


def check(a, flavour, genes):
    """Scanpy's genes in scanpy's order; among equal scores its order is an accident of the sort."""
    var = a.var[a.var["highly_variable"]]
    if flavour == "seurat":
        assert list(var.index) == genes, "seurat: the genes differ"
        return
    var = var.sort_values("highly_variable_rank")
    theirs, mine = var["variances_norm"].to_numpy(), a.var["variances_norm"].loc[genes].to_numpy()
    assert len(mine) == 2000 and np.allclose(theirs, mine, rtol=1e-12, atol=0), "seurat_v3: the genes differ"


def warm(program, path, flavour, turns):
    mine, peer = [], []
    with subprocess.Popen([program, path, flavour, "turns"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        for turn in range(turns + 1):
            process.stdin.write("\n")
            process.stdin.flush()
            words = process.stdout.readline().split()
            begin = time.perf_counter()
            a = theirs(path, flavour)
            seconds = time.perf_counter() - begin
            check(a, flavour, words[4:])
            if turn:
                mine.append([float(word) for word in words[:4]])
                peer.append(seconds * 1e3)
        process.stdin.close()
    return np.array(mine), np.array(peer)


def process_time(command):
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - begin) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("file")
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for flavour in ("seurat", "seurat_v3"):
        mine, peer = warm(arguments.program, arguments.file, flavour, arguments.turns)
        ratio = peer / mine[:, 3]
        parts = np.median(mine, axis=0)
        print(
            f"{flavour:9} warm: stmc best {mine[:, 3].min():.1f} ms, median {parts[3]:.1f} (reading {parts[0]:.1f}, "
            f"normalising {parts[1]:.1f}, choosing {parts[2]:.1f}); scanpy best {peer.min():.1f}, median "
            f"{np.median(peer):.1f}; ratio best/best {peer.min() / mine[:, 3].min():.2f}, turn by turn "
            f"{ratio.min():.2f} / {np.median(ratio):.2f} / {ratio.max():.2f}"
        )
        code = CODE + "theirs(*sys.argv[1:])"
        turns = max(2, arguments.turns // 5)
        ours = [process_time([arguments.program, arguments.file, flavour]) for _ in range(turns)]
        others = [process_time([sys.executable, "-c", code, arguments.file, flavour]) for _ in range(turns)]
        print(f"{flavour:9} whole processes: stmc {np.median(ours):.1f} ms, scanpy {np.median(others):.1f} ms: "
              f"{np.median(others) / np.median(ours):.1f}", flush=True)


if __name__ == "__main__":
    main()
