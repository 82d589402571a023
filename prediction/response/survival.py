"""Statistics of survival: concordance, Kaplan-Meier, log-rank test; and the table that compares feature sets.

y is everywhere float64 (n_patients, 2): time, and event (1, or 0 where censored; NaN where nothing is known). A pair of
patients is comparable when the one with the shorter time had the event (of equal times, when one of the two had it);
it is concordant when that one has the higher score, and half so when scores are equal (Harrell's C). Groups are
tertiles of the scores of patients by models that never saw them. Intervals of C are of a bootstrap over patients and
take scores as given; no p is corrected for the number of rows.
"""
import numpy as np
import pandas as pd
from scipy import stats

from evaluation import resampling
from response import feature_sets
from slide_ex import text_table

REFERENCES = {"minus_clinical": "clinical", "minus_bulk": "Bulk", "minus_mean_features": feature_sets.MEAN_FEATURES}
GROUPS = "low", "middle", "high"    # tertiles of the score; "high" has the highest hazard


def pairs(y, scores):
    """Comparable pairs (i before j), bool (n, n), and how concordant each is: 1, 0.5 or 0."""
    time, event = y.T
    earlier = (time[:, None] < time) | ((time[:, None] == time) & (event == 0))
    comparable = earlier & (event[:, None] == 1)
    difference = scores[:, None] - scores
    return comparable, np.where(difference > 0, 1., np.where(difference < 0, 0., 0.5))


def concordance(y, scores, weights=None):
    """Harrell's C, NaN without a comparable pair; with weights (n_draws, n_patients) one for each draw of patients."""
    comparable, agreement = pairs(y, scores)
    weights_of = np.ones((1, len(y))) if weights is None else weights.astype(float)
    with np.errstate(invalid="ignore"):
        c = (((weights_of @ (comparable * agreement)) * weights_of).sum(1)
             / ((weights_of @ comparable) * weights_of).sum(1))
    return c[0] if weights is None else c


def kaplan_meier(y):
    """Survival after each time of an event (product-limit) with Greenwood's interval on the log(-log) scale.

    DataFrame: time, n_at_risk, n_events, survival, survival_low, survival_high; it begins with time 0.
    """
    times = np.unique(y[y[:, 1] == 1, 0])
    at_risk = (y[:, 0] >= times[:, None]).sum(1)
    events = ((y[:, 0] == times[:, None]) & (y[:, 1] == 1)).sum(1)
    survival = np.cumprod(1 - events / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_sd = np.sqrt(np.cumsum(events / (at_risk * (at_risk - events)))) / np.abs(np.log(survival))
        half = stats.norm.ppf((1 + resampling.CONFIDENCE) / 2) * log_sd
        low, high = survival ** np.exp(half), survival ** np.exp(-half)
    last = survival == 0    # nobody is left: no interval
    table = pd.DataFrame({"time": times, "n_at_risk": at_risk, "n_events": events, "survival": survival,
                          "survival_low": np.where(last, np.nan, low), "survival_high": np.where(last, np.nan, high)})
    start = pd.DataFrame([{"time": 0., "n_at_risk": len(y), "n_events": 0, "survival": 1., "survival_low": 1.,
                           "survival_high": 1.}])
    return pd.concat([start, table], ignore_index=True)


def log_rank(y, groups):
    """p of the log-rank test that all groups have one survival; NaN with fewer than two groups or no event."""
    names = np.unique(groups)
    times = np.unique(y[y[:, 1] == 1, 0])
    if len(names) < 2 or not len(times):
        return np.nan
    member = (groups == names[:-1, None]).astype(float)     # the last group follows from the others
    at_risk, now = y[:, 0] >= times[:, None], (y[:, 0] == times[:, None]) & (y[:, 1] == 1)
    n, d = at_risk.sum(1), now.sum(1)
    share = at_risk @ member.T / n[:, None]     # of each group among those at risk
    difference = (now @ member.T).sum(0) - d @ share
    factor = d * (n - d) / np.maximum(n - 1, 1)
    variance = np.diag(factor @ share) - (share * factor[:, None]).T @ share
    if np.linalg.matrix_rank(variance) < len(difference):
        return np.nan
    return stats.chi2.sf(difference @ np.linalg.solve(variance, difference), len(difference))


def tertiles(scores):
    """GROUPS of scores, array of str: the first third up to and including its limit."""
    limits = np.quantile(scores, [1 / 3, 2 / 3])
    return np.array(GROUPS)[np.searchsorted(limits, scores, side="left")]


def comparison(scores, patients, rows, tables, n_bootstrap, seed):
    """As comparison_table.comparison: one row a column of `scores`, over the patients whose survival is known."""
    known = np.isfinite(patients.new_y).all(axis=1)
    if not known.any():
        return pd.DataFrame()
    y, values = patients.new_y[known], {name: column.to_numpy()[known] for name, column in scores.items()}
    weights = resampling.draws(len(y), n_bootstrap, seed)
    drawn = {name: concordance(y, of_row, weights) for name, of_row in values.items()}
    made = []
    for name in rows:
        row = {"features": name, "kind": feature_sets.kind_of(rows[name]), "n_patients": len(y),
               "n_events": int(y[:, 1].sum()), "n_genes": feature_sets.n_genes(name, rows[name], tables),
               "c_index": concordance(y, values[name])}
        row |= zip(("c_index_low", "c_index_high"), resampling.interval(drawn[name]))
        row["p_log_rank"] = log_rank(y, tertiles(values[name]))
        for column, other in REFERENCES.items():
            is_there = other in values and other != name
            row[column] = row["c_index"] - concordance(y, values[other]) if is_there else np.nan
            row |= zip((f"{column}_low", f"{column}_high"),
                       resampling.interval(drawn[name] - drawn[other] if is_there else []))
        made.append(row)
    return pd.DataFrame(made).astype({"n_genes": "Int64"})


def curves(scores, y):
    """Kaplan-Meier of each tertile of each column of scores: DataFrame, columns features, group and `kaplan_meier`'s.
    """
    made = []
    for name, column in scores.items():
        groups = tertiles(column.to_numpy())
        made += [kaplan_meier(y[groups == group]).assign(features=name, group=group) for group in GROUPS
                 if (groups == group).any()]
    table = pd.concat(made, ignore_index=True)
    return table[["features", "group", *(name for name in table if name not in ("features", "group"))]]


def write(folder, scores, patients, table):
    """Write comparison.csv, scores.csv and kaplan_meier.csv of known survival, new_patients.csv of the others."""
    known = np.isfinite(patients.new_y).all(axis=1)
    if known.any():
        with_survival = scores[known].reset_index()
        for i, name in enumerate(("time", "event"), 1):
            with_survival.insert(i, name, patients.new_y[known, i - 1])
        text_table.write_results(table, folder / "comparison.csv")
        text_table.write_results(with_survival.astype({"event": int}), folder / "scores.csv")
        text_table.write_results(curves(scores[known], patients.new_y[known]), folder / "kaplan_meier.csv")
    if not known.all():
        text_table.write_results(scores[~known].reset_index(), folder / "new_patients.csv")
