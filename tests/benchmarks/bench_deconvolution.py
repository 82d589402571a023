"""Accuracy of the native deconvolution on data with known truth, beside simple baselines, in one run.

    python tests/benchmarks/bench_deconvolution.py [--data ../shared/data/brca9] [--robust | --richer | --peers PYTHON]

Without --data, on simulated data of another law than the model's (deconvolution_data.py): multiplicative programmes,
correlated between cell types, in counts. --samples and --genes cut the data for a quicker look. --out gets
reliability.csv: per cell type and confidence, the share of (gene, type) pairs with Kendall's tau of at least 0.3
against the truth.
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
import deconvolution_data  # noqa: E402
import deconvolution_peer_runs  # noqa: E402
import deconvolution_stresses  # noqa: E402
from model import native  # noqa: E402

N_RICHER = 100       # samples that are deconvolved with a richer reference
PEERS_LOG_SD = .3    # of the profiles of states that other tools are given, natural log
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
    p.add_argument("--peers", nargs="*", metavar="PYTHON", help="other tools, of deconvolution_peers.py, in these "
                   f"environments (requirements-deconvolution-peers.txt), on the first {N_RICHER} samples")
    p.add_argument("--out", type=Path)
    args = p.parse_args()
    data = deconvolution_data.read(args.data) if args.data else deconvolution_data.simulated(args.seed)
    held_out = args.richer or args.peers is not None
    data = deconvolution_data.cut(data, None if held_out else args.samples, args.genes)
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
    elif args.peers is not None:
        show_peers(deconvolution_cases.with_profiles(data, args.samples or N_RICHER, PEERS_LOG_SD,
                                                     np.random.default_rng(args.seed)), args.peers)
    else:
        show_fractions(data)
        show_baselines(data)
        show_native("native", data, args.out)


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


def show_peers(data, pythons):
    """Other tools beside the native model; their expression on the genes that they were given, beside its own."""
    estimates = {}
    for name, case in (("native", data | {"states": None}), ("native, states", data)):
        start = time.process_time()
        done = deconvolved(case)
        show_fraction_line(name, data["fractions"], done.fractions, time.process_time() - start)
        estimates[name] = done.expression
    for tool, found, spent in deconvolution_peer_runs.of(data, pythons):
        if found is None:
            print(f"{tool}: did not run: {spent}", flush=True)
            continue
        name = f"{tool} {found['version']}, {found['given']}"
        show_fraction_line(name, data["fractions"], found["fractions"], spent)
        if "genes" in found:
            truth = data["expression"][:, np.searchsorted(data["scored"], found["genes"])]
            show_expression_line(name, kendall(truth, found["expression"]), spent)
            for other, estimate in estimates.items():
                show_expression_line(f"{other}, the same genes", kendall(truth, estimate[:, found["genes"]]), 0)


def deconvolved(data):
    return native.deconvolve(*(data[part] for part in ("bulk", "markers", "signature", "reference")), seed=42,
                             states=data.get("states"), purity=data.get("purity"))


def show_native(name, data, out):
    start = time.perf_counter()
    done = deconvolved(data)
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
