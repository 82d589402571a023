"""Accuracy of the native deconvolution on data with known truth, beside simple baselines, in one run.

    python tests/benchmarks/bench_deconvolution.py [--data ../shared/data/brca9] [--robust] [--richer] [--out folder]

Without --data, on simulated data of another law than the model's (`simulated`): multiplicative programmes, correlated
between cell types, in counts. --samples and --genes cut the data for a quicker look. --out gets reliability.csv: per
cell type and confidence, the share of (gene, type) pairs with Kendall's tau of at least 0.3 against the truth.
"""
import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from sklearn.svm import NuSVR

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deconvolution"))
import deconvolution_cases  # noqa: E402  after the path to the model
import deconvolution_stresses  # noqa: E402
from model import native  # noqa: E402

N_RICHER = 100       # samples that are deconvolved with a richer reference
N_SVR_SAMPLES = 30   # nu-SVR takes about a second a sample
EDGES = [0, .1, .25, .5, .75, .9, .95, .99, 1.0001]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path)
    p.add_argument("--samples", type=int)
    p.add_argument("--genes", type=int)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--robust", nargs="*", metavar="NAME", help="the stresses of deconvolution_stresses.py, or those "
                   "with a NAME in theirs, and nothing else")
    p.add_argument("--richer", action="store_true", help="states, donors and purity beside the reference, on the first "
                   f"{N_RICHER} samples; the others make the states")
    p.add_argument("--out", type=Path)
    args = p.parse_args()
    data = read(args.data) if args.data else simulated(args.seed)
    data = cut(data, None if args.richer else args.samples, args.genes)
    print(f"{len(data['bulk'])} genes ({len(data['scored'])} scored), {data['bulk'].shape[1]} samples, "
          f"{data['signature'].shape[1]} cell types, {len(data['markers'])} markers")
    if args.robust is not None:
        for name, stress in deconvolution_stresses.of(data["cell_types"]).items():
            if args.robust and not any(word in name for word in args.robust):
                continue
            copy = {part: value.copy() for part, value in data.items()}
            show_native(name, stress(copy, np.random.default_rng(args.seed)), None)
    elif args.richer:
        for name, case in deconvolution_cases.richer(data, args.samples or N_RICHER, args.seed):
            show_native(name, case, None)
    else:
        show_fractions(data)
        show_baselines(data)
        show_native("native", data, args.out)


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


def kendall(truth, estimate):
    """Kendall's tau-b (n_types, n_genes), exact; 0 where either is constant. Arrays (n_types, n_genes, n_samples)."""
    first, second = np.triu_indices(truth.shape[2], 1)
    tau = np.zeros(truth.shape[:2])
    for k in range(truth.shape[0]):
        for g in range(truth.shape[1]):
            a, b = (np.sign(x[k, g, first] - x[k, g, second]) for x in (truth, estimate))
            norm = np.sqrt(np.count_nonzero(a) * np.count_nonzero(b))
            tau[k, g] = a @ b / norm if norm else 0
    return tau


def correlations(truth, estimate):
    """Pearson's r of the columns of two tables (n_samples, n_types)."""
    return np.array([np.corrcoef(a, b)[0, 1] if a.std() * b.std() > 0 else np.nan for a, b in zip(truth.T, estimate.T)])


def show_fractions(data):
    bulk, signature, truth = data["bulk"][data["markers"]], data["signature"], data["fractions"]
    for name, method, n in (("plain NNLS", lambda b: nnls(signature, b)[0], bulk.shape[1]),
                            (f"nu-SVR, {N_SVR_SAMPLES} samples", lambda b: nu_svr(signature, b), N_SVR_SAMPLES)):
        start = time.perf_counter()
        amounts = np.array([method(b) for b in bulk.T[:n]])
        show_fraction_line(name, truth[:n], amounts / amounts.sum(axis=1, keepdims=True), time.perf_counter() - start)


def show_fraction_line(name, truth, estimate, seconds):
    print(f"fractions | {name} | mean Pearson {np.nanmean(correlations(truth, estimate)):.3f} | "
          f"RMSE {np.sqrt(np.mean((truth - estimate) ** 2)):.3f} | {seconds:.0f} s")


def nu_svr(signature, sample):
    """Amounts by linear nu-SVR on standardised values, best of three nu, negative ones cut, as CIBERSORT does."""
    x, y = ((v - v.mean()) / v.std() for v in (signature, sample))
    fits = [NuSVR(kernel="linear", nu=nu).fit(x, y) for nu in (.25, .5, .75)]
    best = min(fits, key=lambda fit: np.mean((fit.predict(x) - y) ** 2))
    return np.maximum(best.coef_[0], 0) + 1e-12


def show_baselines(data):
    """Bulk as it is, and bulk shared out by the reference (type-level allocation), given the true fractions."""
    bulk = data["bulk"][data["scored"]].astype(np.float32)
    share = data["reference"][data["scored"]] / np.maximum(
        data["reference"][data["scored"]] @ data["fractions"].mean(axis=0), 1e-9)[:, None]
    total = np.maximum(share @ data["fractions"].T, 1e-9)
    show_expression_line("bulk as it is", kendall(data["expression"], np.repeat(bulk[None], len(share.T), axis=0)), 0)
    allocated = np.stack([share[:, k, None] * bulk / total for k in range(share.shape[1])])
    show_expression_line("type-level allocation, true fractions", kendall(data["expression"], allocated), 0)


def show_expression_line(name, tau, seconds):
    medians = np.median(tau, axis=1)
    print(f"expression | {name} | mean Kendall {medians.mean():.3f} | share >= .3 {np.mean(tau >= .3):.3f} | "
          f"{seconds:.0f} s | {' '.join(f'{m:.2f}' for m in medians)}", flush=True)


def show_native(name, data, out):
    start = time.perf_counter()
    done = native.deconvolve(*(data[part] for part in ("bulk", "markers", "signature", "reference")), seed=42,
                             states=data.get("states"), purity=data.get("purity"))
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    show_fraction_line(name, data["fractions"], done.fractions, seconds)
    tau = kendall(data["expression"], done.expression[:, data["scored"]])
    show_expression_line(name, tau, seconds)
    scores = done.confidence[data["scored"]].T
    kept = scores >= .95
    precision = np.mean(tau[kept] >= .3) if kept.any() else np.nan
    print(f"confidence | {name} | kept {kept.mean():.3f} | precision {precision:.3f} | rank {done.rank} | "
          f"largest memory so far {memory:.1f} GB")
    for cell_type, own, right in zip(data["cell_types"], kept, tau >= .3):
        print(f"    {cell_type}: {own.sum()} kept" + (f", precision {right[own].mean():.3f}" if own.any() else ""))
    print(f"    doubtful fractions: {[data['cell_types'][k] for k in np.flatnonzero(done.check.doubtful())]}")
    rows, line = done.unexplained
    if len(rows):
        print(f"    note: {line.format(genes=rows[:5])}")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame({"cell_type": np.repeat(data["cell_types"], scores.shape[1]), "confidence": scores.ravel(),
                              "right": (tau >= .3).ravel()})
        table["bin"] = pd.cut(table["confidence"], EDGES, right=False, labels=[f">= {edge:g}" for edge in EDGES[:-1]])
        groups = table.groupby(["cell_type", "bin"], observed=True)
        groups.agg(n=("right", "size"), mean_confidence=("confidence", "mean"), share_right=("right", "mean")).round(
            3).to_csv(out / "reliability.csv")


if __name__ == "__main__":
    main()
