"""Makes the small HDF5 files that fuzz_counts edits (tests/fuzz/templates): one of every layout and encoding that
counts_read and hest_patches_read know. python tests/fuzz/make_templates.py (h5py, numpy); the fuzzer needs no Python.
"""
import os

import h5py
import numpy as np

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")
os.makedirs(OUT, exist_ok=True)
U8 = h5py.string_dtype()
M = np.array([[0, 5, 1, 0], [2, 0, 0, 3], [0, 0, 7, 0]], "f4")  # 3 spots, 4 genes
ROWS, GENES = ["AAAC-1", "AAAG-1", "AACC-1"], ["A", "B", "B", "MT-C"]


def make(name, fill, **options):
    with h5py.File(os.path.join(OUT, name), "w", **options) as f:
        fill(f)


def compressed(group, by_columns=False, dtype="f4"):
    m = M.T if by_columns else M
    indptr = np.concatenate([[0], np.cumsum((m != 0).sum(1))])
    r, c = np.nonzero(m)
    group["indptr"] = indptr.astype("i4")
    group["indices"] = c.astype("i4")
    group.create_dataset("data", data=m[r, c].astype(dtype), chunks=(2,), compression="gzip", shuffle=True)


def encoding(o, kind, version, **more):
    o.attrs["encoding-type"], o.attrs["encoding-version"] = kind, version
    for k, v in more.items():
        o.attrs[k.replace("_0", "")] = v


def frame(f, name, index, columns):
    g = f.create_group(name)
    encoding(g, "dataframe", "0.2.0")
    g.attrs["_index"] = "_index"
    g.attrs.create("column-order", list(columns), dtype=U8)
    g["_index"] = np.array(index, dtype=U8)
    encoding(g["_index"], "string-array", "0.2.0")
    for k, v in columns.items():
        if isinstance(v, tuple):
            c = g.create_group(k)
            encoding(c, "categorical", "0.2.0", ordered=False)
            c["codes"], c["categories"] = np.array(v[0], "i1"), np.array(v[1], dtype=U8)
        elif isinstance(v, dict):
            c = g.create_group(k)
            encoding(c, "nullable-integer", "0.1.0")
            c["values"], c["mask"] = np.array(v["values"]), np.array(v["mask"])
        else:
            g[k] = v
    return g


def current(f, x="csr"):
    encoding(f, "anndata", "0.1.0")
    if x == "dense":
        f.create_dataset("X", data=M, chunks=(2, 3), compression="lzf")
        encoding(f["X"], "array", "0.2.0")
    else:
        g = f.create_group("X")
        encoding(g, x + "_matrix", "0.1.0", shape=np.array(M.shape))
        compressed(g, x == "csc")
    frame(f, "obs", ROWS, {"n": np.array([6, 5, 7]), "in_tissue": np.array([True, True, False]), "kind": ([0, 1, -1], ["a", "b"]),
                           "maybe": {"values": [1, 2, 3], "mask": [False, True, False]}})
    frame(f, "var", GENES, {"gene_ids": np.array(["E1", "E2", "E3", "E4"], dtype=U8)})
    g = f.create_group("layers/counts")
    encoding(g, "csr_matrix", "0.1.0", shape=np.array(M.shape))
    compressed(g, dtype="i4")
    f["obsm/spatial"] = np.arange(6.0).reshape(3, 2)
    frame(f, "obsm/abundance", ROWS, {"T": np.array([0.5, 1, 0]), "S": np.array([0.5, 0, 1])})
    g = f.create_group("raw")
    g["X"] = M
    frame(f, "raw/var", GENES, {})
    s = f.create_group("uns/spatial/lib")
    s["images/hires"] = np.random.default_rng(1).random((6, 5, 3)).astype("f4")
    s["images/lowres"] = np.arange(18, dtype="u1").reshape(2, 3, 3)
    s["scalefactors/spot_diameter_fullres"], s["scalefactors/tissue_hires_scalef"] = 89.0, 0.17


def old(f):  # 2018: compound tables, h5sparse attributes
    compressed(f.create_group("X"))
    f["X"].attrs["h5sparse_format"], f["X"].attrs["h5sparse_shape"] = "csr", np.array(M.shape)
    f["obs"] = np.array(list(zip([r.encode() for r in ROWS], [6, 5, 7], [0, 1, -1])), dtype=[("index", "S8"), ("n", "f4"), ("kind", "i1")])
    f["var"] = np.array([(b"A", 1), (b"B", 2), (b"C", 3), (b"D", 4)], dtype=[("index", "S8"), ("m", "i8")])
    f["uns/kind_categories"] = np.array([b"a", b"b"])
    f["obsm"] = np.array([((0, 1),), ((2, 3),), ((4, 5),)], dtype=[("X_pca", "f8", (2,))])
    f["raw.X"], f["raw.var"] = M, f["var"][:]


def frames_070(f):  # 0.7: categories beside the codes
    current(f)
    g = f["obs"]
    del g["kind"], g["maybe"]
    g.attrs.create("column-order", ["n", "in_tissue", "kind"], dtype=U8)
    g["kind"] = np.array([0, 1, -1], "i1")
    g["__categories/kind"] = np.array(["a", "b"], dtype=U8)
    g["kind"].attrs["categories"] = g["__categories/kind"].ref


def tenx(f, probes=False):
    g = f.create_group("matrix")
    g["barcodes"] = np.array([r.encode() for r in ROWS])
    compressed(g, dtype="i4")
    g["shape"] = np.array([4, 3], "i4")
    n = g.create_group("features")
    n["name"], n["id"] = np.array([g_.encode() for g_ in GENES]), np.array([b"E1", b"E2", b"E3", b"E4"])
    n["feature_type"] = np.array([b"Gene Expression"] * 3 + [b"Antibody Capture"])
    n["genome"] = np.array([b"hg"] * 4)
    if probes:
        n["gene_id"], n["gene_name"] = n["id"][:], n["name"][:]
        n["probe_region"], n["filtered_probes"] = np.array([b"spliced"] * 4), np.array([True, False, True, True])
        g["filtered_barcodes"] = np.array([True, True, False])


def tenx_2(f):
    for genome in ("hg", "mm"):
        g = f.create_group(genome)
        g["barcodes"] = np.array([r.encode() for r in ROWS])
        compressed(g, dtype="i4")
        g["shape"] = np.array([4, 3], "i4")
        g["gene_names"], g["genes"] = np.array([x.encode() for x in GENES]), np.array([b"E1", b"E2", b"E3", b"E4"])


def elucidata(f):
    t = [("x", "i8"), ("y", "i8"), ("C1", "f8"), ("C2", "f8")]
    f["spots/Train/S_1"] = np.array([(1, 2, 0.5, 0.1), (3, 4, 0, 1)], t)
    f["spots/Train/S_2"] = np.array([(1, 2, 0.5, 0.1)], t)
    f["spots/Test/S_7"] = np.array([(1, 2, 1)], [("x", "i8"), ("y", "i8"), ("Test_Set", "i8")])
    f["images/Train/S_1"] = np.random.default_rng(2).random((4, 5, 3)).astype("f4")
    f["images/Test/S_7"] = np.zeros((3, 3, 3), "f4")


def patches(f):
    f["img"] = np.arange(3 * 4 * 4 * 3, dtype="u1").reshape(3, 4, 4, 3)
    f["coords"] = np.array([[10, 20], [30, 40], [50, 60]])
    f["barcode"] = np.array([[b"AAAC-1"], [b"AAAG-1"], [b"AACC-1"]])


LATEST = {"libver": ("v110", "v110")}
make("a_h5ad_csr.h5", current, **LATEST)
make("b_h5ad_csc.h5", lambda f: current(f, "csc"))
make("c_h5ad_dense.h5", lambda f: current(f, "dense"), **LATEST)
make("d_h5ad_2018.h5", old)
make("e_h5ad_070.h5", frames_070)
make("f_10x_v3.h5", tenx, **LATEST)
make("g_10x_probes.h5", lambda f: tenx(f, True))
make("h_10x_v2.h5", tenx_2)
make("i_elucidata.h5", elucidata)
make("j_patches.h5", patches)
