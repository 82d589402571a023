"""The comparison of response models: one row a feature set, all for the same patients.

AUC has DeLong's interval, average precision that of a bootstrap, the diagnostic odds ratio a log-normal one. A score
calls pCR when it is above the share of pCR among the patients who train, which stratified folds keep: a threshold that
a single new patient can be held against and that was not searched for. p_mann_whitney is one-sided (pCR scored higher
than RD); p_delong_* are two-sided, paired, against the direct model and bulk expression. No p is corrected for the
number of rows. Intervals and p take scores as given. Inside a cohort, where patients are scored by classifiers that
learnt from the other patients, they are therefore too narrow when patients are few and features many: with 60 patients
and 200 features without signal, 88 % of the 95 % intervals of the AUC held 0.5, with 1,000 features 70 %.
"""
import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics

from evaluation import association, resampling
from response import feature_sets
from slide_ex import text_table

REFERENCES = {"p_delong_direct": "direct", "p_delong_bulk": "Bulk"}


def comparison(scores, patients, rows, tables, n_bootstrap, seed):
    """One row a column of `scores`, over the patients whose response is known; DataFrame, without rows if none is.

    Parameters
    ----------
    scores : DataFrame, patients x feature sets
    rows : dict of feature set to its members
    tables : dict of member to its tables, whose columns are counted as genes
    """
    known = np.isfinite(patients.new_y)
    if not known.any():
        return pd.DataFrame()
    labels, threshold = patients.new_y[known], patients.y.mean()
    weights = resampling.draws(len(labels), n_bootstrap, seed)
    values = {name: column.to_numpy()[known] for name, column in scores.items()}
    made = []
    for name, members in rows.items():
        row = {"features": name, "kind": feature_sets.kind_of(members), "n_patients": len(labels),
               "n_pcr": int(labels.sum()), "n_genes": feature_sets.n_genes(name, members, tables)}
        row |= statistics_of(labels, values[name], threshold, weights)
        row |= {p: association.delong_paired(labels, values[name], values[other])
                if other in values and other != name else np.nan for p, other in REFERENCES.items()}
        made.append(row)
    return pd.DataFrame(made).astype({"n_genes": "Int64"})


def statistics_of(labels, values, threshold, weights):
    """Statistics of one score; dict of the columns from auc to p_mann_whitney. weights: bootstrap draws of patients."""
    row = dict(zip(("auc", "auc_low", "auc_high"), association.delong(labels, values, resampling.CONFIDENCE)))
    row["average_precision"] = metrics.average_precision_score(labels, values)
    row |= zip(("average_precision_low", "average_precision_high"),
               resampling.interval(association.average_precision(labels, values, weights)))
    row |= zip(("dor", "dor_low", "dor_high"),
               association.diagnostic_odds_ratio(labels, values > threshold, resampling.CONFIDENCE))
    return row | {"p_mann_whitney": stats.mannwhitneyu(values[labels == 1], values[labels == 0],
                                                       alternative="greater").pvalue}


def write(folder, scores, patients, table):
    """Write comparison.csv and scores.csv of known responses, new_patients.csv of those that are not known."""
    known = np.isfinite(patients.new_y)
    if known.any():
        with_response = scores[known].reset_index()
        with_response.insert(1, "response", patients.new_y[known].astype(int))
        text_table.write_results(table, folder / "comparison.csv")
        text_table.write_results(with_response, folder / "scores.csv")
    if not known.all():
        text_table.write_results(scores[~known].reset_index(), folder / "new_patients.csv")
