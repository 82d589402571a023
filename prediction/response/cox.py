"""Cox regression with a ridge penalty: survival from a feature set, as classifiers.py is response from one.

    impute (median) -> drop constant features -> scale -> maximise  l(b) - |b|^2 / (2 s^2)

with Cox's partial likelihood l (Breslow's form where times tie). The penalty is a normal prior on the coefficients with
s^2 = PRIOR_SD^2 / (number of features), so PRIOR_SD is about the standard deviation of the log hazard over patients
before anything is learnt, and means the same for 3 features and for 3,000. Inner folds choose it by the
cross-validated partial likelihood (Verweij and van Houwelingen, 1993), so that nothing is chosen or scaled on a patient
who is scored. The score is the log hazard against the mean training patient.
"""
import numpy as np
from sklearn.model_selection import StratifiedKFold

from response import survival

PRIOR_SDS = 0.05, 0.1, 0.2, 0.4, 0.8, 1.6    # of the log hazard; the first is all but no model
N_INNER_FOLDS = 3
MAX_STEPS = 50
TOLERANCE = 1e-8    # of the penalised likelihood between two steps of Newton's method, relative


def fit_and_score(x, y, x_new, n_search, seed):
    """Scores of patients that are not in training, and the concordance in inner folds.

    Parameters
    ----------
    x, x_new : ndarray (n_patients, n_features)
        NaN takes the median of the training patients.
    y : ndarray (n_patients, 2)
        Columns time and event (1, or 0 where censored).
    n_search : int
        Not used: the penalties tried are PRIOR_SDS.
    """
    folds = list(StratifiedKFold(N_INNER_FOLDS, shuffle=True, random_state=seed).split(x, y[:, 1]))
    inner, likelihood = np.zeros((len(PRIOR_SDS), len(x))), np.zeros(len(PRIOR_SDS))
    for train, valid in folds:
        for i, scores in enumerate(paths(x[train], y[train], x)):
            inner[i, valid] = scores[valid]
            likelihood[i] += log_likelihood(scores, y) - log_likelihood(scores[train], y[train])
    best = int(likelihood.argmax())
    *_, scores = paths(x, y, x_new, PRIOR_SDS[:best + 1])
    return scores, survival.concordance(y, inner[best])


def paths(x, y, x_new, prior_sds=PRIOR_SDS):
    """Scores of new patients for each prior, from the strictest; yields arrays (n_new,).

    Only the part of the coefficients within the span of the patients is not zero, so as many numbers are fitted as
    there are patients or features, whichever is less.
    """
    z, z_new = standardised(x, x_new)
    if not z.shape[1]:
        yield from (np.zeros(len(x_new)) for _ in prior_sds)
        return
    u, singular, vt = np.linalg.svd(z, full_matrices=False)
    z, z_new, coefficients = u * singular, z_new @ vt.T, np.zeros(len(singular))
    for prior_sd in prior_sds:
        coefficients = fit(z, y, vt.shape[1] / prior_sd ** 2, coefficients)
        yield z_new @ coefficients


def standardised(x, x_new):
    """Both tables without features that are constant in training, scaled to its mean 0 and standard deviation 1."""
    with np.errstate(all="ignore"):
        median = np.array([np.median(known) if len(known := column[np.isfinite(column)]) else 0. for column in x.T])
    x, x_new = (np.where(np.isfinite(values), values, median) for values in (x, x_new))
    mean, sd = x.mean(axis=0), x.std(axis=0)
    varies = sd > 1e-9 * np.maximum(np.abs(mean), 1)
    return tuple((values[:, varies] - mean[varies]) / sd[varies] for values in (x, x_new))


def fit(z, y, penalty, coefficients):
    """Coefficients that maximise the penalised partial likelihood, by Newton's method from those given."""
    def objective(candidate):
        return log_likelihood(z @ candidate, y) - penalty * candidate @ candidate / 2

    now = objective(coefficients)
    for _ in range(MAX_STEPS):
        slope, curvature = derivatives(z @ coefficients, y)
        step = np.linalg.solve(z.T @ curvature @ z + penalty * np.eye(z.shape[1]),
                               z.T @ slope - penalty * coefficients)
        while (reached := objective(coefficients + step)) < now and np.abs(step).max() > 1e-12:
            step = step / 2
        coefficients, before, now = coefficients + step, now, reached
        if now - before <= TOLERANCE * abs(now):
            break
    return coefficients


def risk_sets(y):
    """Times of events, bool (n_events, n_patients) who is at risk then, and the number of events at each."""
    times, counts = np.unique(y[y[:, 1] == 1, 0], return_counts=True)
    return y[:, 0] >= times[:, None], counts


def log_likelihood(log_hazard, y):
    """Cox's partial likelihood, logarithm, Breslow's form for ties."""
    at_risk, counts = risk_sets(y)
    top = log_hazard.max()
    return log_hazard[y[:, 1] == 1].sum() - counts @ (np.log(at_risk @ np.exp(log_hazard - top)) + top)


def derivatives(log_hazard, y):
    """First derivatives of the log likelihood by each patient's log hazard, and minus the second: (n,), (n, n)."""
    at_risk, counts = risk_sets(y)
    hazard = np.exp(log_hazard - log_hazard.max())
    shares = at_risk * hazard / (at_risk @ hazard)[:, None]     # of each patient in the hazard at an event
    expected = counts @ shares
    return y[:, 1] - expected, np.diag(expected) - (shares * counts[:, None]).T @ shares
