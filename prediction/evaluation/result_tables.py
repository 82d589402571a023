"""Tables from out-of-fold predictions: one row a gene, a cell type, a response model, and one a target (summary)."""
import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics

from evaluation import association
from slide_ex.project import targets_file

R_THRESHOLDS = (0.40, 0.45, 0.50, 0.55, 0.60)  # "robustly predicted" above the first (docs/method.md)
N_TOP_GENES = 1000
CONFIDENCE = 0.95


def of_target(name, predicted, targets_path, n_bootstrap, seed):
    """The table of a target: one row a gene, a cell type (name "abundance") or the model (name "direct")."""
    if name == "direct":
        return response(predicted, n_bootstrap, seed)
    if name == "abundance":
        return cell_types(predicted)
    table = correlations(predicted, "gene")
    table["confidence"] = targets_file.read_confidence(targets_path, name).reindex(table["gene"]).to_numpy()
    return table


def cell_types(predicted):
    """One row a cell type: as for genes, with spearman_rho and rmse (in units of fractions)."""
    table = correlations(predicted, "cell_type")
    ranks = [stats.rankdata(values, axis=0) for values in (predicted.predictions, predicted.labels)]
    with np.errstate(invalid="ignore"):
        table.insert(3, "spearman_rho", association.pearson(*ranks))
    table.insert(5, "rmse", np.sqrt(np.square(predicted.predictions - predicted.labels).mean(0)))
    return table


def correlations(predicted, name):
    """What genes and cell types have in common; R is NaN where predictions are constant."""
    labels, predictions = predicted.labels.astype(float), predicted.predictions.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        r, slope = association.pearson_and_slope(predictions, labels)
    p = association.one_sided_p(r, len(labels))
    return pd.DataFrame({name: predicted.outputs, "n_patients": len(labels), "pearson_r": r, "slope": slope,
                         "p_one_sided": p, "p_holm_sidak": association.holm_sidak(p),
                         "p_benjamini_hochberg": association.benjamini_hochberg(p)})


def response(predicted, n_bootstrap, seed):
    """One row: AUC with DeLong's interval, average precision with a bootstrap interval, metrics at 0.5."""
    labels, probabilities = predicted.labels[:, 0], predicted.predictions[:, 0]
    if len(np.unique(labels)) < 2:
        raise ValueError("the patients predicted so far all have one response, so there is no ROC curve: train the "
                         "other folds of 1main_direct.py")
    auc, auc_low, auc_high = association.delong(labels, probabilities, CONFIDENCE)
    low, high = interval(association.average_precision(labels, probabilities, draws(len(labels), n_bootstrap, seed)))
    called = probabilities > 0.5
    return pd.DataFrame([{
        "n_patients": len(labels), "n_pcr": int(labels.sum()), "auc": auc, "auc_low": auc_low, "auc_high": auc_high,
        "average_precision": metrics.average_precision_score(labels, probabilities),
        "average_precision_low": low, "average_precision_high": high,
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, called),
        "f1": metrics.f1_score(labels, called, zero_division=0),
        "precision": metrics.precision_score(labels, called, zero_division=0),
        "recall": metrics.recall_score(labels, called, zero_division=0)}])


def write(table, path):
    """Write a table as all of them are: CSV without row numbers, six digits."""
    table.to_csv(path, index=False, float_format="%.6g")


def summary_row(name, model, predicted, n_bootstrap, seed):
    """One row of the summary: medians and counts of R over the outputs of a target, or the AUC of the response.

    Intervals are percentiles over resampled patients. Resampling adds its own scatter to each R, so intervals of
    counts and of the best genes lean upwards.
    """
    labels, predictions = predicted.labels.astype(float), predicted.predictions.astype(float)
    row = {"target": name, "model": model, "n_patients": len(labels)}
    if name == "direct":
        auc, low, high = association.delong(labels[:, 0], predictions[:, 0], CONFIDENCE)
        return row | {"auc": auc, "auc_low": low, "auc_high": high}
    with np.errstate(divide="ignore", invalid="ignore"):
        values = summarise(association.pearson(predictions, labels)[None])
    row |= {"n_genes": labels.shape[1]} | {statistic: value[0] for statistic, value in values.items()}
    for statistic, replicates in summarise(bootstrap_r(predictions, labels, n_bootstrap, seed)).items():
        statistic = statistic.replace("_above_", "_")
        row[f"{statistic}_low"], row[f"{statistic}_high"] = interval(replicates)
    return row


def summarise(r):
    """Medians and counts of rows of R, (n_rows, n_genes); dict of name to array (n_rows,). NaN counts as no gene."""
    with np.errstate(invalid="ignore"):
        ranked = -np.sort(-r, axis=1)  # NaN last
    result = {"median_r": np.nanmedian(r, axis=1), "median_r_top1000": np.nanmedian(ranked[:, :N_TOP_GENES], axis=1)}
    return result | {f"n_r_above_{threshold:.2f}": (r > threshold).sum(1) for threshold in R_THRESHOLDS}


def bootstrap_r(predictions, labels, n_bootstrap, seed):
    """Pearson R of each output in resampled patients, by weighted sums; (n_bootstrap, n_outputs)."""
    x, y = (association.centred(values) for values in (predictions, labels))
    weights = draws(len(x), n_bootstrap, seed) / len(x)
    mean_x, mean_y = weights @ x, weights @ y
    with np.errstate(divide="ignore", invalid="ignore"):
        return (weights @ (x * y) - mean_x * mean_y) / np.sqrt(
            (weights @ (x * x) - mean_x ** 2) * (weights @ (y * y) - mean_y ** 2))


def resampled(n, n_bootstrap, seed):
    """Draws of n row numbers with replacement; (n_bootstrap, n)."""
    return np.random.default_rng(seed).integers(0, n, (n_bootstrap, n))


def draws(n, n_bootstrap, seed):
    """How often each row is in each of the draws of `resampled`; int64 (n_bootstrap, n)."""
    return np.stack([np.bincount(rows, minlength=n) for rows in resampled(n, n_bootstrap, seed)])


def interval(values):
    """Percentile interval; NaN without values."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    limits = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]
    return tuple(np.percentile(values, limits)) if len(values) else (np.nan, np.nan)
