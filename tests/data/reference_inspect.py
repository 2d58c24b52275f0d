"""Writes tests/data/reference/inspect.json: what h5py, anndata, scanpy, pandas, Pillow, tifffile and OpenSlide
say about every file of the samples, in the words of `stmdata inspect --json`; inspect_test.c compares. What the
READMEs of the samples state is checked on the way.

python tests/data/reference_inspect.py SAMPLES        (needs the packages; the test needs none of them)
"""

import collections, json, math, os, sys, warnings
import anndata, h5py, numpy as np, openslide, pandas as pd, scanpy as sc, scipy.io, scipy.sparse as sp, tifffile
from PIL import Image
from scipy.spatial import cKDTree

warnings.filterwarnings("ignore")
SAMPLES = sys.argv[1]
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference", "inspect.json")


def number(value):
    value = float(value)
    return int(value) if value == math.floor(value) and abs(value) < 2**53 else value


# ---- counts


def totals(x):
    """Values that are not 0, their sum (in double precision), and the range with the zeros."""
    dense = not sp.issparse(x)
    values = np.asarray(x, np.float32).ravel() if dense else x.tocsr().data.astype(np.float32)
    nnz, cells = int((values != 0).sum()), x.shape[0] * x.shape[1]
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if values.size < cells:
        low, high = min(low, 0), max(high, 0)
    return {"nnz": nnz, "sum": number(math.fsum(values.tolist())), "min": number(low), "max": number(high)}


def kind_of(column):
    if isinstance(column.dtype, pd.CategoricalDtype):
        return {"kind": "category", "categories": len(column.cat.categories)}
    if pd.api.types.is_bool_dtype(column.dtype):
        return {"kind": "bool"}
    if pd.api.types.is_integer_dtype(column.dtype):
        return {"kind": "integer"}
    return {"kind": "real" if pd.api.types.is_float_dtype(column.dtype) else "text"}


def frame(table):
    return [{"name": str(name), **kind_of(table[name])} for name in table.columns]


def embeddings(table):
    """Sparse ones are not read, nor columns of a table that are not numbers: inspect notes both."""
    out = []
    for name, value in table.items():
        if isinstance(value, pd.DataFrame):
            value = value.select_dtypes("number")
        if not sp.issparse(value):
            out.append({"name": name, "columns": int(value.shape[1])})
    return out


def layers(a):
    """raw stands among the layers, last."""
    named = dict(a.layers.items(), **({"raw": a.raw.X} if a.raw is not None else {}))
    return [{"name": k, **{n: totals(v)[n] for n in ("nnz", "sum")}} for k, v in named.items()]


def libraries(a):
    out = []
    for name, library in dict(a.uns.get("spatial", {})).items():
        scales, images = library.get("scalefactors", {}), library.get("images", {})
        facts = {"name": name}
        for key in ("spot_diameter_fullres", "tissue_hires_scalef", "tissue_lowres_scalef"):
            if key in scales:
                facts[key] = number(scales[key])
        for size in ("hires", "lowres"):
            if size in images and np.asarray(images[size]).size:
                facts[size] = list(np.asarray(images[size]).shape[1::-1])
        out.append(facts)
    return out


def h5ad(path):
    a = anndata.read_h5ad(path)
    facts = {"kind": "counts", "obs": a.n_obs, "var": a.n_vars}
    if a.X is None:
        facts["x"] = "none"
    else:
        facts.update(x="sparse" if sp.issparse(a.X) else "dense", **totals(a.X))
    facts.update(
        obs_columns=frame(a.obs),
        var_columns=frame(a.var),
        obsm=embeddings(a.obsm),
        libraries=libraries(a),
        layers=layers(a),
    )
    return facts


def repeated(names):
    return sum(count - 1 for count in collections.Counter(names).values())


def tenx(path):
    with h5py.File(path) as f:
        genomes = sorted(g for g in f if "matrix" != g and isinstance(f[g], h5py.Group))
        probes = "matrix" in f and "probe_region" in f["matrix/features"] or "filtered_probes" in f.get("matrix", {})
        if "matrix" in f:
            m = f["matrix"]
            shape = m["shape"][:]
            x = sp.csc_matrix((m["data"][:], m["indices"][:], m["indptr"][:]), shape=tuple(shape)).T
            names = m["features/name" if "name" in m["features"] else "features/id"][:]
    if genomes:
        parts = []
        for genome in genomes:
            a = sc.read_10x_h5(path, genome=genome)
            parts.append(
                {"name": genome, "obs": a.n_obs, "var": a.n_vars, **{k: totals(a.X)[k] for k in ("nnz", "sum")}}
            )
        if len(parts) == 1:
            return {"kind": "counts", "x": "sparse", "obs": a.n_obs, "var": a.n_vars, **totals(a.X)}
        whole = {k: sum(p[k] for p in parts) for k in ("obs", "nnz", "sum")}
        return {"kind": "counts", **whole, "genomes": parts}
    if not probes:
        a = sc.read_10x_h5(path, gex_only=False)
        assert totals(a.X) == totals(x) and a.shape == x.shape
    return {
        "kind": "counts",
        "x": "sparse",
        "obs": x.shape[0],
        "var": x.shape[1],
        **totals(x),
        "duplicate_names": repeated(names),
    }


def mex(path):
    names = os.listdir(path)
    zipped = ".gz" if any(n.endswith(".gz") for n in names) else ""
    x = scipy.io.mmread(os.path.join(path, "matrix.mtx" + zipped)).T
    features = pd.read_csv(os.path.join(path, "features.tsv" + zipped), sep="\t", header=None)
    return {
        "kind": "counts",
        "x": "sparse",
        "obs": x.shape[0],
        "var": x.shape[1],
        **totals(x),
        "duplicate_names": repeated(features[1]),
    }


def legacy_counts(path):
    table = pd.read_csv(path, sep="\t", index_col=0)
    return {"kind": "counts", "obs": table.shape[0], "var": table.shape[1], **totals(sp.csr_matrix(table.to_numpy()))}


def outs(path):
    names = os.listdir(path)
    if "filtered_feature_bc_matrix.h5" in names:
        facts = tenx(os.path.join(path, "filtered_feature_bc_matrix.h5"))
        a = sc.read_10x_h5(os.path.join(path, "filtered_feature_bc_matrix.h5"), gex_only=False)
        ids = a.obs_names
    else:
        facts = mex(os.path.join(path, "filtered_feature_bc_matrix"))
        ids = pd.read_csv(os.path.join(path, "filtered_feature_bc_matrix/barcodes.tsv"), header=None)[0]
    spatial = os.path.join(path, "spatial")
    new = os.path.join(spatial, "tissue_positions.csv")
    where = new if os.path.exists(new) else os.path.join(spatial, "tissue_positions_list.csv")
    table = read_positions(where)
    facts.update(joined=int(pd.Index(ids).isin(table["barcode"]).sum()), positions=len(table))
    facts.update(in_tissue=int(table["in_tissue"].sum()), obsm=[{"name": "spatial", "columns": 2}])
    scales = json.load(open(os.path.join(spatial, "scalefactors_json.json")))
    library = {"name": os.path.basename(path)}
    for key in ("spot_diameter_fullres", "tissue_hires_scalef", "tissue_lowres_scalef"):
        library[key] = number(scales[key])
    for size in ("hires", "lowres"):
        picture = os.path.join(spatial, f"tissue_{size}_image.png")
        if os.path.exists(picture):
            library[size] = list(Image.open(picture).size)
    facts["libraries"] = [library]
    return facts


def legacy(path):
    parts = []
    for name in sorted(os.listdir(os.path.join(path, "counts"))):
        section = name.split(".")[0]
        counts = legacy_counts(os.path.join(path, "counts", name))
        parts.append({"name": section, **{k: counts[k] for k in ("obs", "var", "nnz", "sum")}})
    whole = {k: sum(p[k] for p in parts) for k in ("obs", "nnz", "sum")}
    return {"kind": "counts", **whole, "sections": parts, "proportions": ["major", "minor", "subset"]}


# ---- text


def read_positions(path):
    columns = ["barcode", "in_tissue", "array_row", "array_col", "y", "x"]
    with open(path) as f:
        header = f.readline().startswith("barcode")
    return pd.read_csv(path, header=0 if header else None, names=columns)


def positions(path):
    if path.endswith("_selection.tsv"):
        table = (
            pd.read_csv(path, sep="\t")
            .drop(columns=["x", "y"])
            .rename(columns={"pixel_x": "x", "pixel_y": "y", "selected": "in_tissue"})
        )
    else:
        table = read_positions(path)
    inside = table[table["in_tissue"] == 1]
    xy = inside[["x", "y"]].to_numpy(float)
    nearest = cKDTree(xy).query(xy, k=2)[0][:, 1]
    facts = {
        "kind": "positions",
        "spots": len(table),
        "in_tissue": len(inside),
        "spacing": number(np.median(nearest)),
    }
    for axis in "xy":
        facts["min_" + axis], facts["max_" + axis] = number(inside[axis].min()), number(inside[axis].max())
    return facts


def scales(path):
    return {"kind": "scale factors", **{k: number(v) for k, v in json.load(open(path)).items()}}


def table(path):
    t = pd.read_csv(path, sep="\t" if path.endswith(".tsv") else ",")
    columns = []
    for name in t.columns:
        plain = "(no name)" if str(name).startswith("Unnamed") else str(name)
        columns.append({"name": plain, "kind": "number" if pd.api.types.is_numeric_dtype(t[name].dtype) else "text"})
    return {"kind": "table", "rows": len(t), "columns": len(columns), "column": columns}


def gene_sets(path):
    sets = [line.rstrip("\n").split("\t")[2:] for line in open(path)]
    sizes = [len(s) for s in sets]
    facts = {"sets": len(sets), "members": sum(sizes), "genes": len(set().union(*sets))}
    return {"kind": "gene sets", **facts, "smallest": min(sizes), "largest": max(sizes)}


def mex_part(path):
    name = os.path.basename(path)
    if name.startswith("matrix"):
        x = scipy.io.mmread(path)
        t = totals(x)
        return {"kind": "matrix", "rows": x.shape[0], "columns": x.shape[1], "nnz": t["nnz"], "sum": t["sum"]}
    kind = name.split(".")[0]
    return {"kind": kind, kind: len(pd.read_csv(path, sep="\t", header=None))}


# ---- pictures


def picture(path):
    with Image.open(path) as image:
        width, height = image.size
    facts = {"kind": "image", "width": width, "height": height, "levels": 1}
    if not path.endswith((".tif", ".svs")):
        return facts
    with tifffile.TiffFile(path) as t:
        levels = t.series[0].levels
        facts.update(
            levels=len(levels),
            level=[
                {"size": list(l.shape[1::-1] if l.keyframe.planarconfig != 2 else l.shape[:0:-1])} for l in levels
            ],
        )
        tags = t.pages[0].tags
        if "XResolution" in tags and tags["ResolutionUnit"].value in (2, 3):
            per_unit = tags["XResolution"].value[0] / tags["XResolution"].value[1]
            microns = (25400 if tags["ResolutionUnit"].value == 2 else 10000) / per_unit
            if microns < 20:
                facts["mpp_x"] = number(microns)
    if path.endswith(".svs"):
        with openslide.OpenSlide(path) as slide:
            assert list(slide.dimensions) == [width, height]
            facts["mpp_x"] = float(slide.properties["openslide.mpp-x"])
            facts["magnification"] = number(slide.properties["openslide.objective-power"])
            facts["levels"] = slide.level_count
            facts["extras"] = [
                {"size": list(slide.associated_images[n].size)} for n in ("thumbnail", "label", "macro")
            ]
    return facts


# ---- all of them


def facts_of(path):
    name = os.path.basename(path)
    if name == "README.md":
        return {"status": 1, "why": "text for people"}
    if name.endswith(".parquet"):
        return {"status": 1, "why": "Parquet is converted with pandas", "says": "pandas.read_parquet"}
    if os.path.basename(os.path.dirname(path)) == "filtered_feature_bc_matrix":
        return mex_part(path)
    if name.endswith(".h5ad"):
        return h5ad(path)
    if name.endswith(".h5"):
        return tenx(path)
    if name.endswith(".gmt"):
        return gene_sets(path)
    if name.endswith(".json"):
        return scales(path)
    if name.endswith((".jpg", ".png", ".tif", ".svs")):
        return picture(path)
    if name.endswith(".tsv.gz"):
        return legacy_counts(path)
    if name.startswith("tissue_positions") or name.endswith("_selection.tsv"):
        return positions(path)
    return table(path)


README = {  # what the samples' READMEs say
    "visium/crc16": {
        "obs": 3106,
        "var": 36601,
        "nnz": 2423896,
        "sum": 4671205,
        "duplicate_names": 10,
        "positions": 4992,
    },
    "visium/brain_sr2": {"obs": 624, "var": 634, "nnz": 170625, "sum": 738015, "positions": 4992, "in_tissue": 2702},
    "visium/colon_hd_16um": {"obs": 675, "var": 18085, "duplicate_names": 3, "positions": 675},
    "visium/heart_100x100": {"obs": 100, "var": 100, "positions": 4992, "in_tissue": 4235},
    "visium/prostate_tiny": {"obs": 12, "var": 5, "positions": 12},
    "visium/h5_variants/cellranger_1.2_chr21.h5": {"obs": 12, "var": 343},
    "visium/h5_variants/cellranger_3.0_chr21.h5": {"obs": 1107, "var": 507},
    "visium/h5_variants/spaceranger_2.1_raw_probe.h5": {"obs": 4987, "var": 1000},
    "h5ad/pbmc68k_current.h5ad": {"obs": 700, "var": 765, "x": "dense"},
    "h5ad/pbmc68k_anndata05.h5ad": {"obs": 700, "var": 765, "x": "dense"},
    "h5ad/visium_brain_csr.h5ad": {"obs": 49, "var": 1999, "x": "sparse"},
    "h5ad/visium_breast_dense.h5ad": {"obs": 316, "var": 100, "x": "dense"},
    "h5ad/pbmc80_dense.h5ad": {"obs": 80, "var": 20, "x": "dense"},
    "h5ad/pbmc80_csr.h5ad": {"obs": 80, "var": 20, "x": "sparse"},
    "h5ad/synthetic_anndata070.h5ad": {"obs": 30, "var": 20, "x": "sparse"},
    "h5ad/synthetic_anndata0114.h5ad": {"obs": 10, "var": 20, "x": "none"},
    "her2st/counts/C2.tsv.gz": {"obs": 187, "var": 15706},
    "her2st/counts/C3.tsv.gz": {"obs": 180, "var": 15821},
    "her2st/counts/C4.tsv.gz": {"obs": 184, "var": 15842},
    "her2st/counts/C5.tsv.gz": {"obs": 181, "var": 15721},
    "her2st/spots/C3_selection.tsv": {"spots": 182},
    "her2st/images/C2.jpg": {"width": 9274, "height": 9911},
    "her2st/images/C5.jpg": {"width": 9272, "height": 9901},
    "msigdb/h.all.v7.0.symbols.gmt": {"sets": 50, "genes": 4384, "smallest": 32, "largest": 200},
    "tiff/cmu1_small_region.svs": {"width": 2220, "height": 2967, "levels": 1, "mpp_x": 0.499},
    "tiff/crc_patch_packbits.tif": {"width": 224, "height": 224},
    "tiff/made_c2_tiled_jpeg_pages.tif": {"width": 2048, "height": 2048, "levels": 4},
    "tiff/made_c2_bigtiff_tiled_jpeg_subifd.tif": {"width": 1500, "height": 1300},
    "tiff/made_c2_tiled_deflate_subifd.tif": {"width": 700, "height": 600},
    "visium/crc16/spatial/tissue_lowres_image.png": {"width": 561, "height": 600},
}


def main():
    result = {}
    for folder, _, names in sorted(os.walk(SAMPLES, followlinks=True)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            result[os.path.relpath(path, SAMPLES)] = facts_of(path)
    for name in sorted(os.listdir(os.path.join(SAMPLES, "visium"))):
        path = os.path.join(SAMPLES, "visium", name)
        if os.path.isdir(os.path.join(path, "spatial")):
            result["visium/" + name] = outs(path)
        if os.path.isdir(os.path.join(path, "filtered_feature_bc_matrix")):
            result[f"visium/{name}/filtered_feature_bc_matrix"] = mex(
                os.path.join(path, "filtered_feature_bc_matrix")
            )
    result["her2st"] = legacy(os.path.join(SAMPLES, "her2st"))
    for name, stated in README.items():
        for key, value in stated.items():
            assert result[name][key] == value, (name, key, value, result[name].get(key))
    with open(OUT, "w") as out:
        out.write(
            "{\n"
            + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in sorted(result.items()))
            + "\n}\n"
        )
    print(len(result), "files and directories,", os.path.getsize(OUT), "bytes")


main()
