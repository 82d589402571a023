"""Tables from out-of-fold predictions: one row a gene, a cell type, a response model, and one a target (summary)."""
import dataclasses

import numpy as np
import pandas as pd

from evaluation import association, gram, resampling
from slide_ex.project import targets_file

R_THRESHOLDS = (0.40, 0.45, 0.50, 0.55, 0.60)  # "robustly predicted" above the first (docs/method.md)
N_TOP_GENES = 1000
REFERENCES = {"network": "network", "mean colour": "colour"}  # models that others are compared with, and their columns


def of_target(name, predicted, targets_path, n_bootstrap, seed):
    """The table of a target: one row a gene, a cell type (name "abundance") or the model (name "direct")."""
    if name == "direct":
        return response(predicted, n_bootstrap, seed)
    if name == "abundance":
        table = cell_types(predicted)
    else:
        table = correlations(predicted, "gene")
        table["confidence"] = targets_file.read_confidence(targets_path, name).reindex(table["gene"]).to_numpy()
    for group, r in reversed(list(r_of_groups(predicted).items())[1:]):
        table.insert(table.columns.get_loc("pearson_r") + 1, f"pearson_r_in_{group}", r)
    return table


def r_of_groups(predicted):
    """R of each output: over all patients (key None), and with predictions and labels centred in each fold, site, ...
    (key of the kind of group); dict of arrays (n_outputs,)."""
    def of_columns(columns):
        predictions, labels = (values[:, columns].astype(float) for values in (predicted.predictions, predicted.labels))
        with np.errstate(divide="ignore", invalid="ignore"):
            return [association.pearson(predictions, labels), *(
                association.pearson_within(predictions, labels, numbers) for numbers in predicted.groups.values())]
    found = gram.over_columns(of_columns, len(predicted.outputs))
    return dict(zip((None, *predicted.groups), map(np.concatenate, zip(*found))))


def cell_types(predicted):
    """One row a cell type: as for genes, with spearman_rho and rmse (in units of fractions)."""
    table = correlations(predicted, "cell_type")
    from scipy import stats
    ranks = [stats.rankdata(values, axis=0) for values in (predicted.predictions, predicted.labels)]
    with np.errstate(invalid="ignore"):
        table.insert(3, "spearman_rho", association.pearson(*ranks))
    table.insert(5, "rmse", np.sqrt(np.square(predicted.predictions - predicted.labels).mean(0)))
    return table


def correlations(predicted, name):
    """What genes and cell types have in common; R is NaN where predictions are constant."""
    def of_columns(columns):
        with np.errstate(divide="ignore", invalid="ignore"):
            return association.pearson_and_slope(*(values[:, columns].astype(float) for values in (
                predicted.predictions, predicted.labels)))
    r, slope = map(np.concatenate, zip(*gram.over_columns(of_columns, len(predicted.outputs))))
    n_patients = len(predicted.labels)
    p = association.one_sided_p(r, n_patients)
    return pd.DataFrame({name: predicted.outputs, "n_patients": n_patients, "pearson_r": r, "slope": slope,
                         "p_one_sided": p, "p_holm_sidak": association.holm_sidak(p),
                         "p_benjamini_hochberg": association.benjamini_hochberg(p)})


def response(predicted, n_bootstrap, seed):
    """One row: AUC with DeLong's interval, average precision with a bootstrap interval, metrics at 0.5."""
    from sklearn import metrics  # takes a second, which other scripts need not wait
    labels, probabilities = predicted.labels[:, 0], predicted.predictions[:, 0]
    if len(np.unique(labels)) < 2:
        raise ValueError("the patients predicted so far all have one response, so there is no ROC curve: train the "
                         "other folds of 1main_direct.py")
    auc, auc_low, auc_high = association.delong(labels, probabilities, resampling.CONFIDENCE)
    weights = resampling.draws(len(labels), n_bootstrap, seed)
    low, high = resampling.interval(association.average_precision(labels, probabilities, weights))
    called = probabilities > 0.5
    return pd.DataFrame([{
        "n_patients": len(labels), "n_pcr": int(labels.sum()), "auc": auc, "auc_low": auc_low, "auc_high": auc_high,
        "average_precision": metrics.average_precision_score(labels, probabilities),
        "average_precision_low": low, "average_precision_high": high,
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, called),
        "f1": metrics.f1_score(labels, called, zero_division=0),
        "precision": metrics.precision_score(labels, called, zero_division=0),
        "recall": metrics.recall_score(labels, called, zero_division=0)}])


def summary_rows(name, models, n_bootstrap, seed, heads):
    """Rows of the summary, one a model, with the differences to the REFERENCES.

    Parameters
    ----------
    models : iterable of name, OutOfFold; None for a model that does not exist. One at a time is kept.
    heads : dict of name to what the model is made of: network, low-rank or blend

    Differences are of the median of R in folds, or of the AUC; their intervals are of the same resampled patients.
    There is none between models of different patients, outputs or labels.
    """
    rows, replicates, compared = {}, {}, {}
    for model, predicted in models:
        if predicted is None:
            continue
        rows[model], replicates[model] = row_and_replicates(name, model, predicted, n_bootstrap, seed)
        rows[model]["head"] = heads.get(model, "")
        labels = next((one.labels for one in compared.values() if np.array_equal(one.labels, predicted.labels)),
                      predicted.labels)     # once in memory
        compared[model] = dataclasses.replace(predicted, labels=labels, predictions=None)
    kinds = {row["head"] or model: model for model, row in rows.items()}
    for reference, column in REFERENCES.items():
        other = kinds.get(reference)
        for model in rows if other else ():
            if model != other and are_paired(compared[model], compared[other]):
                difference = replicates[model] - replicates[other]
                rows[model][f"minus_{column}"] = rows[model][quality(name)] - rows[other][quality(name)]
                of_row = rows[model]
                of_row[f"minus_{column}_low"], of_row[f"minus_{column}_high"] = resampling.interval(difference)
    return list(rows.values())


def quality(name):
    """The column of the summary by which models of a target are compared."""
    return "auc" if name == "direct" else "median_r_in_folds"


def are_paired(one, other):
    return (np.array_equal(one.patient_ids, other.patient_ids) and np.array_equal(one.outputs, other.outputs)
            and np.array_equal(one.labels, other.labels))


def summary_row(name, model, predicted, n_bootstrap, seed):
    """One row of the summary, as `row_and_replicates` makes it."""
    return row_and_replicates(name, model, predicted, n_bootstrap, seed)[0]


def row_and_replicates(name, model, predicted, n_bootstrap, seed):
    """One row of the summary, and its `quality` in resampled patients (n_bootstrap,), None where it is not known.

    A row has medians and counts of R over the outputs of a target, or the AUC of the response. R over all patients is
    the published one. Beside it is R in folds, and in sites where these are known: predictions and labels centred on
    their mean there.

    Intervals are percentiles over resampled patients. Resampling adds its own scatter to each R, so intervals of
    counts and of the best genes lean upwards.
    """
    labels, predictions = predicted.labels, predicted.predictions
    row = {"target": name, "model": model, "n_patients": len(labels)}
    if name == "direct":
        labels, predictions = labels.astype(float), predictions.astype(float)
        auc, low, high = association.delong(labels[:, 0], predictions[:, 0], resampling.CONFIDENCE)
        weights = resampling.draws(len(labels), n_bootstrap, seed)
        replicates = association.weighted_auc(labels[:, 0], predictions[:, 0], weights)
        return row | {"auc": auc, "auc_low": low, "auc_high": high}, replicates
    row["n_genes"], of_quality = labels.shape[1], None
    replicated = resampling.pearson(predictions, labels, n_bootstrap, seed, list(predicted.groups.values()))
    for (group, r), of_draws in zip(r_of_groups(predicted).items(), replicated):
        row |= {named(statistic, group): value[0] for statistic, value in summarise(r[None]).items()}
        for statistic, replicates in summarise(of_draws).items():
            statistic = named(statistic, group)
            of_quality = replicates if statistic == quality(name) else of_quality
            statistic = statistic.replace("_above_", "_")
            row[f"{statistic}_low"], row[f"{statistic}_high"] = resampling.interval(replicates)
    return row, of_quality


def named(statistic, group):
    """Name of a statistic of R in folds or sites: median_r_in_folds, n_r_in_folds_above_0.40."""
    if group is None:
        return statistic
    head, above, threshold = statistic.partition("_above_")
    return f"{head}_in_{group}{above}{threshold}"


def summarise(r):
    """Medians and counts of rows of R, (n_rows, n_genes); dict of name to array (n_rows,). NaN counts as no gene."""
    with np.errstate(invalid="ignore"):
        ranked = -r
        ranked.sort(axis=1)     # NaN last
        np.negative(ranked, out=ranked)
    n_known = (~np.isnan(r)).sum(axis=1)
    result = {"median_r": median_of_first(ranked, n_known),
              "median_r_top1000": median_of_first(ranked, np.minimum(n_known, N_TOP_GENES))}
    return result | {f"n_r_above_{threshold:.2f}": (r > threshold).sum(1) for threshold in R_THRESHOLDS}


def median_of_first(ranked, n):
    """Median of the first n (n_rows,) numbers of each row of ranked ones; NaN without."""
    rows = np.arange(len(ranked))
    middle = (ranked[rows, np.maximum(n - 1, 0) // 2] + ranked[rows, n // 2]) / 2
    return np.where(n > 0, middle, np.nan)
