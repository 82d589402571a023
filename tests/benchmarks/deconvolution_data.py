"""Bulk with known truth for bench_deconvolution.py: read, or simulated by another law than the model's.

Data is a dict: bulk (n_genes, n_samples) and reference (n_genes, n_cell_types), linear; markers, rows of bulk, and
their signature; fractions (n_samples, n_cell_types); scored, rows of bulk whose expression (n_cell_types, n_scored,
n_samples) is known; cell_types.
"""
import numpy as np
import pandas as pd


def read(folder):
    """A benchmark folder: bulk, signature, reference_full, true_fractions (.tsv.gz), true_expression.npz."""
    bulk, signature, reference, fractions = (
        pd.read_csv(folder / f"{name}.tsv.gz", sep="\t", index_col=0)
        for name in ("bulk", "signature", "reference_full", "true_fractions"))
    with np.load(folder / "true_expression.npz") as truth:
        rows = bulk.index.get_indexer(truth["genes"])
        order = [pd.Index(truth[name]).get_indexer(table.columns)
                 for name, table in (("cell_types", signature), ("samples", bulk))]
        expression = 2 ** truth["log2X1p"].astype(np.float32) - 1
    return {"bulk": bulk.to_numpy(), "markers": bulk.index.get_indexer(signature.index),
            "signature": signature.to_numpy(), "reference": reference.loc[bulk.index, signature.columns].to_numpy(),
            "fractions": fractions.loc[bulk.columns, signature.columns].to_numpy(), "scored": rows,
            "expression": np.ascontiguousarray(expression[:, order[0]][:, :, order[1]].transpose(1, 0, 2)),
            "cell_types": list(signature.columns)}


def simulated(seed, n_genes=3000, n_samples=200, n_types=7, n_programmes=4):
    """Another law: expression = mean * exp(programmes), programmes correlated between types; bulk in Poisson counts."""
    random = np.random.default_rng(seed)
    means = random.lognormal(3, 1.5, (n_genes, 1)) * random.lognormal(0, .6, (n_genes, n_types))
    own = random.integers(n_types + 3, size=n_genes)  # three in n_types + 3 genes are nobody's markers
    for k in range(n_types):
        means[own == k, k] *= random.lognormal(2, .7, np.sum(own == k))
    fractions = random.dirichlet(np.geomspace(6, .5, n_types), n_samples)
    shared = random.standard_normal((n_programmes, n_samples))
    expression = np.empty((n_types, n_genes, n_samples), dtype=np.float32)
    for k in range(n_types):
        scores = .5 * shared + random.standard_t(5, (n_programmes, n_samples)) * .75
        loadings = random.laplace(0, .25, (n_genes, n_programmes)) * (random.random((n_genes, n_programmes)) < .5)
        noise = random.normal(0, .2, (n_genes, n_samples))
        expression[k] = means[:, k, None] * np.exp(loadings @ scores + noise)
    platform = random.lognormal(0, .4, (n_genes, 1))
    bulk = np.einsum("kgi,ik->gi", expression, fractions) * platform
    depth = random.uniform(2e6, 6e6, n_samples)
    bulk = random.poisson(bulk / bulk.sum(axis=0) * depth) / depth * 1e6
    reference = means * random.lognormal(0, .35, means.shape)
    fold = np.log(reference + 1) - np.log(np.sort(reference, axis=1)[:, -2:-1] + 1)
    markers = np.unique(np.argsort(-fold, axis=0)[:100])
    seen = np.flatnonzero(bulk.sum(axis=1) > 0)
    place = np.full(n_genes, -1)
    place[seen] = np.arange(len(seen))
    return {"bulk": bulk[seen], "markers": place[np.intersect1d(markers, seen)],
            "signature": reference[np.intersect1d(markers, seen)], "reference": reference[seen], "fractions": fractions,
            "scored": np.arange(len(seen)), "expression": expression[:, seen],
            "cell_types": [f"type {k}" for k in range(n_types)]}


def cut(data, n_samples, n_genes):
    """The first samples, and a random choice of genes that keeps the markers and prefers those with a truth."""
    if n_samples:
        data |= {"bulk": data["bulk"][:, :n_samples], "fractions": data["fractions"][:n_samples],
                 "expression": data["expression"][:, :, :n_samples]}
    if n_genes:
        others = np.random.default_rng(0).permutation(np.setdiff1d(np.arange(len(data["bulk"])), data["markers"]))
        others = others[np.argsort(~np.isin(others, data["scored"]), kind="stable")]
        kept = np.sort(np.r_[data["markers"], others[:n_genes - len(data["markers"])]])
        scored = np.isin(data["scored"], kept)
        data |= {"bulk": data["bulk"][kept], "reference": data["reference"][kept],
                 "markers": np.searchsorted(kept, data["markers"]),
                 "scored": np.searchsorted(kept, data["scored"][scored]), "expression": data["expression"][:, scored]}
    return data
