#!/usr/bin/env python3
"""What stmdata writes, read back by anndata, scanpy and (where installed) squidpy.

    check_outputs.py STMDATA SAMPLES

Needs anndata, scanpy, scikit-misc; not part of ctest, which needs no Python. Prints `N passed, M failed`.
"""
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp

warnings.simplefilter("ignore")
stmdata, samples = sys.argv[1], Path(sys.argv[2])
work = Path(tempfile.mkdtemp())
passed = failed = 0


def check(name, condition):
    global passed, failed
    passed += bool(condition)
    failed += not condition
    if not condition:
        print("FAILED", name)


def run(*words):
    done = subprocess.run([stmdata, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, end="")
    return done


def convert(source, *flags):
    out = work / "out.h5ad"
    out.unlink(missing_ok=True)
    check(f"convert {source}", run("convert", source, "--out", out, *flags).returncode == 0)
    return anndata.read_h5ad(out)


def dense(x):
    return x.toarray() if sp.issparse(x) else np.asarray(x)


def same_frame(name, a, b):
    for column in b.columns:
        left, right = a[column], b[column]
        if isinstance(right.dtype, pd.CategoricalDtype):
            same = list(left.astype(object).fillna("?")) == list(right.astype(object).astype(str).where(right.notna(), "?")) \
                and left.cat.ordered == right.cat.ordered
        elif right.dtype.kind in "fiub":
            same = np.array_equal(left.to_numpy(float), right.to_numpy(float), equal_nan=True)
        else:
            same = list(left.astype(str)) == list(right.astype(str))
        check(f"{name}: column {column}", same)


for file in ["pbmc68k_current", "visium_brain_csr", "visium_breast_dense", "pbmc80_csr", "pbmc80_dense"]:
    want = anndata.read_h5ad(samples / "h5ad" / f"{file}.h5ad")
    for flags in [[], ["--dense"]]:
        got = convert(samples / "h5ad" / f"{file}.h5ad", *flags)
        check(f"{file}: names", list(got.obs_names) == list(want.obs_names) and list(got.var_names) == list(want.var_names))
        check(f"{file}: X", np.array_equal(dense(got.X), dense(want.X).astype(np.float32)))
        check(f"{file}: form", sp.issparse(got.X) == (sp.issparse(want.X) and not flags))
        same_frame(f"{file}: obs", got.obs, want.obs)
        same_frame(f"{file}: var", got.var, want.var)
        for key in want.obsm:
            check(f"{file}: obsm {key}", key in got.obsm and np.allclose(got.obsm[key], want.obsm[key]))
        for library, value in want.uns.get("spatial", {}).items():
            there = got.uns["spatial"][library]
            for factor in there["scalefactors"]:
                check(f"{file}: {factor}", np.isclose(there["scalefactors"][factor], value["scalefactors"][factor]))
            for picture in value["images"]:
                if value["images"][picture].size:
                    check(f"{file}: {picture}", there["images"][picture].shape[:2] == value["images"][picture].shape[:2])

for name in ["crc16", "brain_sr2"]:
    got = convert(samples / "visium" / name)
    want = sc.read_10x_h5(samples / "visium" / name / "filtered_feature_bc_matrix.h5")
    want.var_names_make_unique()
    want = want[got.obs_names]
    check(f"{name}: names", list(got.var_names) == list(want.var_names))
    check(f"{name}: X", (got.X != want.X).nnz == 0 if sp.issparse(got.X) else False)
    check(f"{name}: space", got.obsm["spatial"].shape == (got.n_obs, 2))
    check(f"{name}: picture", got.uns["spatial"][name]["images"]["lowres"].dtype == np.uint8)
    sc.pp.normalize_total(got)
    sc.pp.log1p(got)
    sc.pp.neighbors(got[:200].copy(), use_rep="X")
    for flavor in ["seurat", "seurat_v3"]:
        data = want.copy()
        if flavor == "seurat":
            sc.pp.normalize_total(data, target_sum=1e4)
            sc.pp.log1p(data)
        sc.pp.highly_variable_genes(data, flavor=flavor, n_top_genes=200)
        run("hvg", samples / "visium" / name / "filtered_feature_bc_matrix.h5", "--flavor", flavor, "--n", 200, "--out", work / "hvg.csv")
        genes = pd.read_csv(work / "hvg.csv")
        chosen = data.var[data.var.highly_variable]
        if flavor == "seurat_v3":  # equal variances stand in any order: scanpy's sort is not stable
            chosen = chosen.sort_values("highly_variable_rank")
            least = chosen.variances_norm.iloc[-1] * (1 + 1e-9)
            check(f"{name}: seurat_v3 scores", np.allclose(genes.variance_normalised, chosen.variances_norm, rtol=1e-6))
            check(f"{name}: seurat_v3 chooses the same", set(genes.gene[genes.variance_normalised > least])
                  == set(chosen.index[chosen.variances_norm > least]))
        else:
            check(f"{name}: seurat chooses the same", list(genes.gene) == list(chosen.index))
    out = work / "x.csv"
    run("convert", samples / "visium" / name / "filtered_feature_bc_matrix.h5", "--out", out) if name == "brain_sr2" else None
    if name == "brain_sr2":
        table = pd.read_csv(out, index_col=0)
        check("CSV: values", np.array_equal(table.loc[want.obs_names].to_numpy(), dense(want.X)))

try:
    import squidpy as sq
    got = convert(samples / "visium" / "crc16")
    sq.gr.spatial_neighbors(got, coord_type="grid")
    check("squidpy: neighbours", got.obsp["spatial_connectivities"].nnz > 0)
    sq.pl.spatial_scatter(got, color=got.var_names[0], img_res_key="lowres", save=str(work / "map.png"))
    check("squidpy: a map", (work / "map.png").exists())
except ImportError:
    print("squidpy is not installed: not tried")

# X as scipy.sparse.load_npz reads it
want = sc.read_10x_h5(samples / "visium/crc16/filtered_feature_bc_matrix.h5")
npz = work / "x.npz"
check("convert to NPZ", run("convert", samples / "visium/crc16/filtered_feature_bc_matrix.h5", "--out", npz).returncode == 0)
check("NPZ: X", (sp.load_npz(npz) != want.X).nnz == 0)
check("NPZ: spots", list(np.load(npz)["spots"]) == list(want.obs_names))

print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
