# Recorded references for expression_test, hvg_test, space_test and statistics_test: scanpy, scikit-misc, scipy and
# scikit-learn on the samples of shared/data and on small made arrays that stand in the file itself.
#     python tests/data/reference_expression.py SHARED_DATA tests/data/reference
# Written with scanpy 1.11.5, scikit-misc 0.5.3, scipy 1.17.1, scikit-learn 1.9.1, numpy 2.4.6. The tests need no Python.
import json
import sys
import warnings

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse
import scipy.spatial
import scipy.stats
import sklearn.cluster
import sklearn.decomposition
import sklearn.feature_selection
import sklearn.metrics
from skmisc.loess import loess

warnings.filterwarnings("ignore")
DATA, OUT = sys.argv[1], sys.argv[2]

# path, genes wanted, fewest spots of a gene, raw counts. (h5_variants/cellranger_1.2_chr21.h5, 12 cells, is too small:
# scanpy ends in an IndexError there, scikit-misc in "svddc failed".)
SAMPLES = [
    ("visium/crc16/filtered_feature_bc_matrix.h5", 2000, 10, True),
    ("visium/brain_sr2/filtered_feature_bc_matrix.h5", 300, 10, True),
    ("visium/colon_hd_16um/filtered_feature_bc_matrix.h5", 500, 10, True),
    ("visium/heart_100x100/filtered_feature_bc_matrix.h5", 15, 3, True),
    ("visium/h5_variants/cellranger_3.0_chr21.h5", 100, 3, True),
    ("her2st/counts/C2.tsv.gz", 500, 10, True),
    ("her2st/counts/C3.tsv.gz", 500, 10, True),
    ("her2st/counts/C4.tsv.gz", 500, 10, True),
    ("her2st/counts/C5.tsv.gz", 500, 10, True),
    ("h5ad/visium_brain_csr.h5ad", 500, 1, False),
]


def numbers(values):
    return [None if np.isnan(v) else float(f"{v:.15g}") for v in np.asarray(values, dtype=np.float64).ravel()]


def read(path):
    path = f"{DATA}/{path}"
    if path.endswith(".h5"):
        data = sc.read_10x_h5(path)
    elif path.endswith(".h5ad"):
        data = anndata.read_h5ad(path)
    else:
        table = pd.read_csv(path, sep="\t", index_col=0)
        data = anndata.AnnData(scipy.sparse.csr_matrix(table.to_numpy(np.float32)))
        data.obs_names, data.var_names = table.index.astype(str), table.columns.astype(str)
    data.var_names_make_unique()
    if not scipy.sparse.issparse(data.X):
        data.X = scipy.sparse.csr_matrix(data.X)
    data.X = scipy.sparse.csr_matrix(data.X).astype(np.float32)
    data.uns.pop("log1p", None)
    return data


def expression():
    samples = []
    for path, wanted, min_cells, raw in SAMPLES:
        data = read(path)
        one = {"path": path, "wanted": wanted, "min_spots": min_cells, "raw": raw, "rows": data.n_obs}
        data = data[:, ~data.var_names.str.upper().str.startswith("MT-")].copy()
        sc.pp.filter_genes(data, min_cells=min_cells)
        one["genes"] = data.n_vars
        pick = np.arange(0, data.n_vars, max(1, data.n_vars // 40))
        one["columns"] = pick.tolist()
        if raw:
            v3 = sc.pp.highly_variable_genes(data, flavor="seurat_v3", n_top_genes=wanted, inplace=False)
            index = np.flatnonzero(v3["highly_variable"].to_numpy())
            rank = v3["highly_variable_rank"].to_numpy()
            one["v3"] = index[np.argsort(rank[index], kind="stable")].tolist()
            one["v3_mean"] = numbers(v3["means"].to_numpy()[pick])
            one["v3_variance"] = numbers(v3["variances"].to_numpy()[pick])
            one["v3_score"] = numbers(v3["variances_norm"].to_numpy()[pick])
            middle = data.copy()
            sc.pp.filter_cells(middle, min_genes=1)
            totals = np.asarray(middle.X.sum(1)).ravel()
            one["spots_with_genes"] = middle.n_obs
            sc.pp.normalize_total(middle)
            one["median"] = float(np.median(totals))
            one["median_rows"] = numbers(np.asarray(middle.X.astype(np.float64).sum(1)).ravel()[:5])
            one["median_first"] = numbers(middle.X.data[:5])
            high = data.copy()
            sc.pp.normalize_total(high, target_sum=1e4, exclude_highly_expressed=True, max_fraction=0.05)
            one["excluded_squares"] = float((high.X.data.astype(np.float64) ** 2).sum())
            sc.pp.normalize_total(data, target_sum=1e4)
            sc.pp.log1p(data)
            one["log_sum"] = float(data.X.data.astype(np.float64).sum())
        seurat = sc.pp.highly_variable_genes(data, flavor="seurat", n_top_genes=wanted, inplace=False)
        one["seurat"] = np.flatnonzero(seurat["highly_variable"].to_numpy()).tolist()
        one["seurat_mean"] = numbers(seurat["means"].to_numpy()[pick])
        one["seurat_dispersion"] = numbers(seurat["dispersions"].to_numpy()[pick])
        one["seurat_score"] = numbers(seurat["dispersions_norm"].to_numpy()[pick])
        if data.n_obs * data.n_vars < 3e7:
            dense = data.copy()
            dense.X = dense.X.toarray()
            sc.pp.scale(dense, max_value=3)
            one["scaled_row"] = numbers(dense.X[0][pick])
            one["scaled_squares"] = float((dense.X.astype(np.float64) ** 2).sum())
        samples.append(one)
        print(path, data.shape, len(one["seurat"]), flush=True)
    made = np.random.default_rng(5)
    curves = []
    for count, span, degree, ties in [(60, 0.3, 2, False), (400, 0.3, 2, True), (150, 0.75, 1, False)]:
        x = made.uniform(-2, 3, count).round(1 if ties else 6)
        y = (np.sin(2 * x) + made.normal(0, 0.3, count)).round(6)
        model = loess(x, y, span=span, degree=degree)
        model.fit()
        curves.append({"span": span, "degree": degree, "x": x.tolist(), "y": y.tolist(),
                       "fitted": numbers(model.outputs.fitted_values)})
    write("expression.json", {"samples": samples, "loess": curves})


def space():
    made = np.random.default_rng(11)
    points = made.uniform(0, 1000, (300, 2)).round(3)
    tree = scipy.spatial.cKDTree(points)
    distance, index = tree.query(points, k=7)
    near = tree.query_ball_point(points, 80.0)
    values = (made.normal(0, 1, (300, 3)) + np.sin(points[:, :1] / 150)).round(6)
    k = 6
    moran = []
    for column in values.T:
        z = column - column.mean()
        lag = z[index[:, 1:k + 1]].sum(1) / k
        moran.append((z * lag).sum() / (z * z).sum())
    # Bivariate Moran's R of SpatialDM with a Gaussian kernel on the 160 nearest (itself among them), cut at 0.2
    d160, i160 = tree.query(points, k=160)
    length = 60.0
    w = np.zeros((300, 300))
    for i in range(300):
        w[i, i160[i]] = np.exp(-d160[i] ** 2 / (2 * length ** 2))
    w[w < 0.2] = 0
    np.fill_diagonal(w, 1)
    w *= 300 / w.sum()
    z = (values - values.mean(0)) / values.std(0)
    n = 300
    variance = (n * n * (w * w.T).sum() - 2 * n * (w.sum(0) * w.sum(1)).sum() + w.sum() ** 2) / (n * n * (n - 1) ** 2)
    pairs = []
    for a in range(3):
        for b in range(a + 1, 3):
            r = ((w @ z[:, a]) * z[:, b]).sum() / w.sum()
            pairs.append([float(r), float(r / np.sqrt(variance)), float(scipy.stats.norm.sf(r / np.sqrt(variance)))])
    write("space.json", {
        "points": points.ravel().tolist(), "k": 7, "nearest": index.ravel().tolist(),
        "distance_last": numbers(distance[:, 6]), "radius": 80.0, "within": [sorted(map(int, row)) for row in near],
        "values": values.ravel().tolist(), "moran": numbers(moran), "length": length, "pairs": pairs})


def statistics():
    made = np.random.default_rng(3)
    cases = []
    for n, ties in [(5, False), (40, False), (40, True), (300, True)]:
        x = made.normal(0, 1, n)
        y = 0.6 * x + made.normal(0, 1, n)
        x, y = x.round(0 if ties else 6), y.round(0 if ties else 6)
        pearson, spearman, kendall = scipy.stats.pearsonr(x, y), scipy.stats.spearmanr(x, y), scipy.stats.kendalltau(x, y)
        p, q = np.abs(x) + 1e-8, np.abs(y) + 1e-8
        one = {"x": x.tolist(), "y": y.tolist(), "pearson": numbers([pearson[0], pearson[1]]),
               "spearman": numbers([spearman[0], spearman[1]]), "kendall": float(kendall[0]),
               "rank": numbers(scipy.stats.rankdata(x)),
               "mae": float(sklearn.metrics.mean_absolute_error(x, y)),
               "mse": float(sklearn.metrics.mean_squared_error(x, y)), "r2": float(sklearn.metrics.r2_score(x, y)),
               "jensen_shannon": float(scipy.spatial.distance.jensenshannon(p, q)),
               "labels_mi": float(sklearn.metrics.mutual_info_score(x.astype(int), y.astype(int))),
               "ari": float(sklearn.metrics.adjusted_rand_score(x.astype(int), y.astype(int))),
               "nmi": float(sklearn.metrics.normalized_mutual_info_score(x.astype(int), y.astype(int)))}
        if not ties:
            one["knn_mi"] = float(sklearn.feature_selection.mutual_info_regression(x[:, None], y, random_state=0)[0])
        cases.append(one)
    tables = []
    for rows, width, k in [(40, 6, 4), (12, 30, 5), (150, 24, 8)]:
        base = made.normal(0, 1, (rows, 4)) @ made.normal(0, 2, (4, width)) + made.normal(0, 0.5, (rows, width))
        base = base.round(5)
        pca = sklearn.decomposition.PCA(k, svd_solver="full").fit(base)
        tables.append({"rows": rows, "width": width, "components": k, "values": base.ravel().tolist(),
                       "variance": numbers(pca.explained_variance_), "ratio": numbers(pca.explained_variance_ratio_),
                       "axes": numbers(pca.components_), "scores": numbers(pca.transform(base)[:5])})
    clusters = []
    for k, spread in [(4, 0.4), (6, 2.0)]:
        centre = made.uniform(-5, 5, (k, 3))
        points = (centre[made.integers(0, k, 150)] + made.normal(0, spread, (150, 3))).round(5)
        start = points[:k]
        given = sklearn.cluster.KMeans(k, init=start, n_init=1, algorithm="lloyd").fit(points)
        best = sklearn.cluster.KMeans(k, n_init=20, random_state=42, algorithm="lloyd").fit(points)
        clusters.append({"k": k, "width": 3, "points": points.ravel().tolist(), "given_labels": given.labels_.tolist(),
                         "given_inertia": float(given.inertia_), "given_centres": numbers(given.cluster_centers_),
                         "best_inertia": float(best.inertia_), "best_labels": best.labels_.tolist()})
    write("statistics.json", {"cases": cases, "pca": tables, "kmeans": clusters})


def write(name, value):
    with open(f"{OUT}/{name}", "w") as file:
        json.dump(value, file, separators=(",", ":"))
        file.write("\n")


if "space" in sys.argv[3:] or len(sys.argv) == 3:
    space()
if "statistics" in sys.argv[3:] or len(sys.argv) == 3:
    statistics()
if "expression" in sys.argv[3:] or len(sys.argv) == 3:
    expression()
