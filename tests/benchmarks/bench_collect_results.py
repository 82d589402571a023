"""Baselines and bootstrap of collect_results.py against the plain way, in one run: CPU seconds, ratios, differences.

    python tests/benchmarks/bench_collect_results.py [N_SLIDES] [N_GENES]

The plain way decomposes the slides for each target, predicts the validation slides with each penalty, and takes the
sums of all draws once for R of all patients and once for R in folds; all in float64.
"""
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "prediction"))

from evaluation import association, baselines, resampling  # noqa: E402

N_FEATURES, N_DRAWS, SEED = 2048, 1000, 42


def main(n_slides=1100, n_genes=10_000):
    random = np.random.default_rng(0)
    hidden = random.normal(size=(int(n_slides), 40))
    features = np.abs(0.5 + 0.1 * hidden @ random.normal(size=(40, N_FEATURES))
                      + 0.02 * random.normal(size=(len(hidden), N_FEATURES))).astype(np.float32)
    labels = (hidden[:, :20] @ random.normal(size=(20, int(n_genes))) / 4
              + random.normal(size=(len(hidden), int(n_genes)))).astype(np.float32)
    order = random.permutation(len(hidden))
    train, valid, test = np.split(order, [int(0.64 * len(order)), int(0.8 * len(order))])
    print("CPU seconds plain, here; ratio; largest difference")
    for name, inputs in (("ridge of a fold", features), ("of mean colours", features[:, :3])):
        of_train = baselines.ridges(inputs, train, valid)
        baselines.ridge(of_train, labels, test)     # which leaves what further targets find
        compare(name, lambda: plain_ridge(inputs, labels, train, valid, test),
                lambda: baselines.ridge(of_train, labels, test))
        _, once = timed(lambda: baselines.ridges(inputs, train, valid))
        print(f"    once for all targets: {once:.2f} s")
    folds = np.arange(len(labels)) % 5
    predictions = labels * 0.5 + random.normal(size=labels.shape)
    compare(f"R of {N_DRAWS} draws", lambda: [plain_r(predictions, labels, groups) for groups in (0 * folds, folds)],
            lambda: resampling.pearson(predictions, labels, N_DRAWS, SEED, [folds]))


def compare(what, plain, here):
    expected, before = timed(plain)
    found, now = timed(here)
    pairs = zip(expected, found) if isinstance(expected, list) else [(expected, found)]
    difference = max(np.abs(one - two).max() for one, two in pairs)
    print(f"{what:20} {before:6.2f} {now:6.2f} {before / now:6.1f}   {difference:.1g}", flush=True)


def timed(function):
    started = time.process_time()
    return function(), time.process_time() - started


def plain_ridge(inputs, labels, train, valid, test):
    centre, label_mean = inputs[train].mean(0), labels[train].mean(0)
    x = (inputs - centre).astype(float)
    values, vectors = np.linalg.eigh(x[train] @ x[train].T)
    rotated = vectors.T @ (labels[train] - label_mean)
    of_valid, of_test = (x[rows] @ x[train].T @ vectors for rows in (valid, test))
    solutions = [rotated / (values + penalty * values.sum() / len(train))[:, None] for penalty in baselines.PENALTIES]
    best = max(solutions, key=lambda solution: association.pearson(of_valid @ solution, labels[valid]).mean())
    return of_test @ best + label_mean


def plain_r(predictions, labels, groups):
    counts = resampling.draws(len(labels), N_DRAWS, SEED).astype(float)
    x, y = (association.centred_within(values.astype(float), groups) for values in (predictions, labels))
    xy, xx, yy = counts @ (x * y), counts @ (x * x), counts @ (y * y)
    for group in np.unique(groups):
        rows = groups == group
        n = counts[:, rows].sum(1, keepdims=True)
        sum_x, sum_y = (counts[:, rows] @ values[rows] for values in (x, y))
        xy, xx, yy = xy - sum_x * sum_y / n, xx - sum_x ** 2 / n, yy - sum_y ** 2 / n
    return xy / np.sqrt(xx * yy)


if __name__ == "__main__":
    main(*sys.argv[1:])
