"""Records what h5py, anndata, scanpy and pandas say of the sample files, and makes small files of encodings that the
samples lack. Writes reference/counts.json, reference/positions.json and reference/counts_made/. The tests need no Python.

    python -m venv ENV && ENV/bin/pip install anndata scanpy h5py pandas
    ENV/bin/python tests/data/reference_counts.py ../shared/data

Matrices are recorded as sums: plain, and weighted by place ((1 + row % 97) * (1 + column % 89)), in f64 over the values
as f32; texts as the 64-bit FNV-1a hash of all of them, each followed by a line feed.
"""
import glob
import json
import os
import shutil
import sys
import warnings

import anndata
import h5py
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.io
import scipy.sparse as sp

warnings.simplefilter("ignore")
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference")
MADE = os.path.join(HERE, "counts_made")


def fnv(texts):
    h = 0xCBF29CE484222325
    for text in texts:
        for byte in str(text).encode() + b"\n":
            h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def matrix(x):
    x = sp.coo_matrix(x if sp.issparse(x) else np.asarray(x))
    x.sum_duplicates()
    v = x.data.astype("f4").astype("f8")
    keep = v != 0
    v, r, c = v[keep], x.row[keep], x.col[keep]
    return {
        "rows": int(x.shape[0]),
        "columns": int(x.shape[1]),
        "nnz": int(len(v)),
        "sum": float(v.sum()),
        "weighted": float((v * (1 + r % 97) * (1 + c % 89)).sum()),
        "absolute": float((abs(v) * (1 + r % 97) * (1 + c % 89)).sum()),
    }


def column(series):
    if isinstance(series.dtype, pd.CategoricalDtype):
        return {
            "kind": "category",
            "categories": fnv(series.cat.categories),
            "codes": int(series.cat.codes.astype("i8").sum()),
            "ordered": bool(series.cat.ordered),
        }
    if pd.api.types.is_bool_dtype(series.dtype) and not series.isna().any():
        return {"kind": "bool", "sum": int(series.astype("i8").sum())}
    if pd.api.types.is_integer_dtype(series.dtype) and not series.isna().any():
        return {"kind": "integer", "sum": int(series.astype("i8").sum())}
    if pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_bool_dtype(series.dtype):
        values = series.astype("Float64").to_numpy(dtype="f8", na_value=np.nan)
        return {"kind": "real", "sum": float(np.nansum(values)), "missing": int(np.isnan(values).sum())}
    if series.isna().any():  # texts with missing ones: categories in the order of first use
        known = series[~series.isna()]
        labels = list(dict.fromkeys(known))
        codes = [labels.index(x) if not pd.isna(x) else -1 for x in series]
        return {"kind": "category", "categories": fnv(labels), "codes": int(sum(codes)), "ordered": False}
    return {"kind": "text", "hash": fnv(series)}


def picture(image):
    image = np.asarray(image)
    if image.ndim < 2 or image.size == 0:
        return None
    if image.dtype.kind == "f":
        image = np.floor(np.clip(image.astype("f8") * (255 if image.max() <= 1 else 1), 0, 255) + 0.5)
    image = image[..., :3].astype("i8")
    return {"height": image.shape[0], "width": image.shape[1], "sum": int(image.sum()), "first": image[0, 0].tolist()}


def unique(names):
    return anndata.utils.make_index_unique(pd.Index(list(names))) if len(set(names)) != len(names) else names


def annotated(a):
    duplicates = int(pd.Index(a.var_names).duplicated().sum())
    out = {
        "row_names": fnv(a.obs_names),
        "column_names": fnv(unique(a.var_names)),
        "duplicate_names": duplicates,
        "x": matrix(a.X) if a.X is not None else None,
        "n_obs": a.n_obs,
        "n_vars": a.n_vars,
        "obs": {k: column(a.obs[k]) for k in a.obs.columns},
        "var": {k: column(a.var[k]) for k in a.var.columns},
        "layers": {k: matrix(v) for k, v in a.layers.items() if k is not None},
        "obsm": {},
        "spatial": {},
    }
    if a.raw is not None:
        out["layers"]["raw"] = matrix(a.raw.X)
    for k, v in a.obsm.items():
        if isinstance(v, pd.DataFrame):
            v = v[[c for c in v if not isinstance(v[c].dtype, pd.CategoricalDtype)]].to_numpy("f8")
        if isinstance(v, np.ndarray):
            v = v.astype("f8")
            places = np.arange(v.size).reshape(v.shape) % 101
            out["obsm"][k] = {"width": v.shape[1], "sum": float(v.sum()), "weighted": float((v * (1 + places)).sum())}
    for k, v in a.uns.get("spatial", {}).items():
        images = v.get("images", {})
        out["spatial"][k] = {
            "hires": picture(images.get("hires", images.get("downscaled_fullres", []))),
            "lowres": picture(images.get("lowres", [])),
            "spot_diameter_fullres": float(v["scalefactors"]["spot_diameter_fullres"]),
        }
    return out


def legacy(data, section):
    counts = pd.read_csv(f"{data}/her2st/counts/{section}.tsv.gz", sep="\t", index_col=0)
    spots = pd.read_csv(f"{data}/her2st/spots/{section}_selection.tsv", sep="\t")
    spots.index = spots["x"].astype(str) + "x" + spots["y"].astype(str)
    joined = spots.loc[counts.index]
    a = anndata.AnnData(sp.csr_matrix(counts.to_numpy("f4")), pd.DataFrame(index=counts.index), pd.DataFrame(index=counts.columns))
    a.obs["array_row"], a.obs["array_col"] = joined["y"].to_numpy(), joined["x"].to_numpy()
    a.obsm["spatial"] = joined[["pixel_x", "pixel_y"]].to_numpy("f8")
    return a


def mex(path):
    gz = ".gz" if os.path.exists(path + "/matrix.mtx.gz") else ""
    x = scipy.io.mmread(f"{path}/matrix.mtx{gz}").T.tocsr().astype("f4")
    features = pd.read_csv(f"{path}/features.tsv{gz}", sep="\t", header=None)
    barcodes = pd.read_csv(f"{path}/barcodes.tsv{gz}", header=None)[0]
    var = pd.DataFrame({"gene_ids": features[0].to_numpy(), "feature_types": features[2].to_numpy()}, index=features[1])
    return anndata.AnnData(x, pd.DataFrame(index=barcodes), var)


# ---- Files that the samples lack ----------------------------------------------------------------


def table(rows, letter, random):
    return pd.DataFrame(index=[f"{letter}{i}" for i in range(rows)])


def make_files():
    random = np.random.default_rng(11)
    shutil.rmtree(MADE, ignore_errors=True)
    os.makedirs(MADE)
    x = sp.random(40, 30, 0.2, "csr", "f4", 5, data_rvs=lambda n: random.integers(1, 9, n).astype("f4"))
    obs, var = table(40, "cell", random), table(30, "gene", random)
    obs["nullable_integer"] = pd.array([None if i % 7 == 0 else i for i in range(40)], dtype="Int64")
    obs["full_integer"] = pd.array(range(40), dtype="Int64")
    obs["nullable_bool"] = pd.array([None if i % 5 == 0 else i % 2 == 0 for i in range(40)], dtype="boolean")
    obs["full_bool"] = pd.array([i % 3 == 0 for i in range(40)], dtype="boolean")
    obs["plain_bool"] = [i % 4 == 0 for i in range(40)]
    obs["ordered"] = pd.Categorical([f"c{i % 3}" if i else None for i in range(40)], ["c2", "c1", "c0"], ordered=True)
    obs["numbers"] = pd.Categorical([i % 4 * 10 for i in range(40)])
    obs["text"] = [f"text é {i}" for i in range(40)]
    obs["real"] = [np.nan if i == 3 else i / 3 for i in range(40)]
    a = anndata.AnnData(x, obs, var)
    a.layers["csc"] = sp.csc_matrix(x) * 2
    a.layers["dense"] = x.toarray() + 1
    a.obsm["spatial"] = random.normal(size=(40, 2)) * 1000
    a.raw = a[:, :25].copy()
    image = random.random((5, 7, 3)).astype("f4")
    a.uns["spatial"] = {"ST": {"images": {"downscaled_fullres": (image * 255).astype("u1")}, "scalefactors": {
        "spot_diameter_fullres": 112.5, "tissue_downscaled_fullres_scalef": 0.05}}}
    a.write_h5ad(f"{MADE}/columns.h5ad", compression="gzip")
    anndata.AnnData(sp.csc_matrix(x), table(40, "cell", random), table(30, "gene", random)).write_h5ad(f"{MADE}/csc.h5ad", compression="lzf")
    big = sp.random(90, 400, 0.3, "csr", "f8", 9)
    anndata.AnnData(big, table(90, "cell", random), table(400, "gene", random)).write_h5ad(f"{MADE}/several_chunks.h5ad", compression="gzip")
    with h5py.File(f"{MADE}/several_chunks.h5ad", "r+") as f:  # small chunks, shuffle, 64-bit indices, LZF values
        g = f["X"]
        for name, how in (("data", dict(compression="lzf")), ("indices", dict(compression="gzip", shuffle=True))):
            values = g[name][:].astype("f4" if name == "data" else "i8")
            del g[name]
            g.create_dataset(name, data=values, chunks=(997,), maxshape=(None,), shuffle=True, **{k: v for k, v in how.items() if k != "shuffle"})
    # Duplicate names, one of which is what the rule would make; columns unsorted, entries of one place twice, a zero.
    with h5py.File(f"{MADE}/unsorted.h5ad", "w") as f:
        f.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        g = f.create_group("X")
        g.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": np.array([3, 5])})
        g["data"] = np.array([5, 1, 2, 4, 0, 7, -7, 3], ">f8")
        g["indices"] = np.array([4, 0, 2, 2, 1, 3, 3, 0], ">i2")
        g["indptr"] = np.array([0, 4, 4, 8], "u4")
        for name, texts in (("obs", ["a", "b", "c"]), ("var", ["G", "G", "G-1", "H", "G"])):
            d = f.create_group(name)
            d.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "names"})
            d.attrs["column-order"] = np.array([], dtype=h5py.string_dtype())
            d["names"] = np.array(texts, "S3")
    with h5py.File(f"{MADE}/elucidata.h5", "w") as f:
        for group, slides in (("Train", ["S_1", "S_2", "S_10"]), ("Test", ["S_7"])):
            for slide in slides:
                n = 20 + len(slide)
                fields = [("x", "i8"), ("y", "i8")] + ([(f"C{i}", "f8") for i in range(1, 36)] if group == "Train" else [("Test_Set", "i8")])
                t = np.zeros(n, fields)
                for name, kind in fields:
                    t[name] = random.integers(1, 3, n) if name == "Test_Set" else random.integers(0, 200, n) if kind == "i8" else random.random(n)
                f[f"spots/{group}/{slide}"] = t
                f[f"images/{group}/{slide}"] = random.random((9, 8, 3)).astype("f4")
    # HEST-1k: a table with byte order mark and quotes, one sample with corners, one with centres.
    tree = f"{MADE}/hest"
    os.makedirs(f"{tree}/st")
    os.makedirs(f"{tree}/patches")
    with open(f"{tree}/HEST_v1_3_0.csv", "w", encoding="utf-8-sig") as f:
        f.write("dataset_title,id,organ,disease_state,species,patient,st_technology,pixel_size_um_estimated,spots_under_tissue,preservation_method\n")
        f.write('"Breast, ""HER2+"" tumours",SPA1,Breast,Cancer,Homo sapiens,A,Spatial Transcriptomics,0.7257,30,FF\n')
        f.write('"Kidney, healthy",NCBI2,Kidney,Healthy,Homo sapiens,,Visium,,12,\n')
        f.write("Nothing here,ZZ3,Brain,Healthy,Mus musculus,C,Visium,0.5,100,FFPE\n")
    for sample, n, corner in (("SPA1", 30, True), ("NCBI2", 12, False)):
        spatial = np.round(np.stack([random.uniform(500, 9000, n), random.uniform(500, 7000, n)], 1), 2)
        h = anndata.AnnData(sp.random(n, 20, 0.4, "csr", "f4", 3, data_rvs=lambda k: random.integers(1, 9, k)), table(n, "b", random), table(20, "g", random))
        h.obsm["spatial"] = spatial
        h.write_h5ad(f"{tree}/st/{sample}.h5ad")
        kept = [i for i in range(n) if i != 4][::-1]
        half = 154
        with h5py.File(f"{tree}/patches/{sample}.h5", "w") as f:
            coordinates = np.round(spatial[kept] - half) if corner else np.round(spatial[kept][:, ::-1])
            f["coords"] = coordinates.astype("i8")
            f.create_dataset("img", data=random.integers(0, 255, (len(kept), 6, 6, 3)).astype("u1"), maxshape=(None, 6, 6, 3))
            names = [f"b{i}" for i in kept]
            f["barcode"] = np.array(names, "S4").reshape(-1, 1) if corner else np.array(names, h5py.string_dtype()).reshape(-1, 1)
    # A file that leads elsewhere, one that claims too much, one without the right objects.
    with h5py.File(f"{MADE}/external.h5ad", "w") as f:
        f["X"] = h5py.ExternalLink("columns.h5ad", "/X")
        for name in ("obs", "var"):
            f[name] = h5py.ExternalLink("columns.h5ad", f"/{name}")
    with h5py.File(f"{MADE}/absurd.h5ad", "w") as f:
        g = f.create_group("X")
        g.attrs.update({"encoding-type": "csr_matrix", "shape": np.array([1, 5])})
        g.create_dataset("data", (2**61,), "f4", chunks=(1024,), maxshape=(None,), compression="gzip")
        g.create_dataset("indices", (2**61,), "i4", chunks=(1024,), maxshape=(None,), compression="gzip")
        g["indptr"] = np.array([0, 2**61])
        for name, texts in (("obs", ["a"]), ("var", ["G", "H", "I", "J", "K"])):
            d = f.create_group(name)
            d.attrs["_index"] = "names"
            d["names"] = np.array(texts, "S3")
    with h5py.File(f"{MADE}/cycle.h5ad", "w") as f:
        f["obs"] = h5py.SoftLink("/var")
        f["var"] = h5py.SoftLink("/obs")
        f["X"] = h5py.SoftLink("/X")


def elucidata(path):
    out = {}
    with h5py.File(path) as f:
        for group in ("Train", "Test"):
            for slide in f[f"spots/{group}"]:
                t = f[f"spots/{group}/{slide}"][:]
                names = [n for n in t.dtype.names if n not in ("x", "y", "Test_Set")]
                values = np.stack([t[n] for n in names], 1) if names else np.zeros((len(t), 0))
                image = f[f"images/{group}/{slide}"][:]
                out[slide] = {
                    "x": matrix(values) if names else None,
                    "spots": len(t),
                    "xy": float((t["x"] + 3.0 * t["y"]).sum()),
                    "set": int(t["Test_Set"].sum()) if group == "Test" else 0,
                    "image": [image.shape[1], image.shape[0], float(image.astype("f8").sum())],
                }
    return out


def positions(path):
    text = open(path).readline()
    names = ["barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres"]
    t = pd.read_csv(path, names=None if "barcode" in text else names)
    return {
        "count": len(t),
        "in_tissue": int(t["in_tissue"].sum()),
        "ids": fnv(t["barcode"]),
        "array": int((t["array_row"] * 3 + t["array_col"]).sum()),
        "x": float(t["pxl_col_in_fullres"].astype("f8").sum()),
        "y": float(t["pxl_row_in_fullres"].astype("f8").sum()),
    }


def main():
    data = sys.argv[1].rstrip("/")
    make_files()
    out = {"samples": {}, "made": {}, "elucidata": elucidata(f"{MADE}/elucidata.h5")}
    for path in sorted(glob.glob(f"{data}/h5ad/*.h5ad")):
        out["samples"][os.path.relpath(path, data)] = annotated(anndata.read_h5ad(path))
    for path in sorted(glob.glob(f"{data}/visium/**/*.h5", recursive=True)):
        genome = "hg19_chr21" if "two_genomes" in path else None
        out["samples"][os.path.relpath(path, data)] = annotated(sc.read_10x_h5(path, genome=genome))
    for name in ("brain_sr2", "prostate_tiny"):
        out["samples"][f"visium/{name}/filtered_feature_bc_matrix"] = annotated(mex(f"{data}/visium/{name}/filtered_feature_bc_matrix"))
    for section in ("C2", "C3", "C4", "C5"):
        out["samples"][f"her2st:{section}"] = annotated(legacy(data, section))
    with h5py.File(f"{MADE}/unsorted.h5ad") as f:  # big-endian numbers and byte strings, which anndata does not read
        g = f["X"]
        x = sp.csr_matrix((g["data"][:].astype("f8"), g["indices"][:].astype("i4"), g["indptr"][:].astype("i4")), (3, 5))
        names = [pd.Index(f[k]["names"].asstr()[:]) for k in ("obs", "var")]
        out["made"]["counts_made/unsorted.h5ad"] = annotated(anndata.AnnData(x, *(pd.DataFrame(index=n) for n in names)))
    for name in ("columns", "csc", "several_chunks"):
        out["made"][f"counts_made/{name}.h5ad"] = annotated(anndata.read_h5ad(f"{MADE}/{name}.h5ad"))
    for sample in ("SPA1", "NCBI2"):
        out["made"][f"counts_made/hest/st/{sample}.h5ad"] = annotated(anndata.read_h5ad(f"{MADE}/hest/st/{sample}.h5ad"))
    with open(f"{HERE}/counts.json", "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")
    found = {}
    for path in sorted(glob.glob(f"{data}/visium/*/spatial/tissue_positions*.csv")):
        found[os.path.relpath(path, data)] = positions(path)
    with open(f"{HERE}/positions.json", "w") as f:
        json.dump(found, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
