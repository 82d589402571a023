"""Classifiers of response after DECODEM (Dhruba et al., 2025): four pipelines, tuned and averaged.

    impute -> VarianceThreshold -> SelectKBest(f_classif, k up to 25) -> StandardScaler -> classifier

with elastic-net logistic regression, a random forest, a support vector machine and, where xgboost is installed,
boosted trees. Randomised search on the AUC of inner folds tunes each pipeline as a whole, k included, so that nothing
is ever chosen or scaled on a patient who is scored. The score is the mean of the pipelines' probabilities of pCR.
The spaces that are searched are this project's choice, for about a hundred patients.
"""
import warnings

import numpy as np
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, SelectorMixin, f_classif
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RandomizedSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

try:
    from xgboost import XGBClassifier
except ImportError:  # optional; the script says so
    XGBClassifier = None

N_FOLDS = 5                  # of patients inside a cohort (DECODEM)
N_INNER_FOLDS = 3            # of the randomised search
N_BEST = 5, 10, 15, 20, 25   # features that SelectKBest may keep (DECODEM: up to 25)
N_TREES = 50
# scikit-learn before 1.8 wants the penalty by name, later versions by l1_ratio alone
ELASTIC_NET = {"penalty": "elasticnet"} if getattr(LogisticRegression(), "penalty", None) == "l2" else {}


class Varying(SelectorMixin, BaseEstimator):
    """Features that vary in training; all where none does: then the classifiers give every patient the same score.

    scikit-learn's VarianceThreshold does the same, but is an error where none does.
    """

    def fit(self, x, y=None):
        varies = np.ptp(x, axis=0) > 0
        self.is_kept_ = varies if varies.any() else ~varies
        return self

    def _get_support_mask(self):    # what SelectorMixin asks for
        return self.is_kept_


def classifiers(seed):
    """Classifiers by name: (estimator, what is searched for it)."""
    found = {
        "logistic": (LogisticRegression(solver="saga", l1_ratio=0.5, max_iter=1000, tol=1e-3, random_state=seed,
                                        **ELASTIC_NET),
                     {"C": stats.loguniform(1e-2, 1e1), "l1_ratio": stats.uniform(0, 1)}),
        "forest": (RandomForestClassifier(N_TREES, random_state=seed),
                   {"max_depth": [2, 3, 5], "min_samples_leaf": [2, 5, 10]}),
        # a sigmoid of the held-out distances from the margin gives probabilities (Platt)
        "svm": (CalibratedClassifierCV(SVC(random_state=seed), ensemble=False, cv=3),
                {"estimator__C": stats.loguniform(1e-2, 1e2), "estimator__kernel": ["linear", "rbf"]})}
    if XGBClassifier:
        found["xgboost"] = (XGBClassifier(n_estimators=N_TREES, subsample=0.8, n_jobs=1, random_state=seed),
                            {"max_depth": [1, 2, 3], "learning_rate": stats.loguniform(0.02, 0.3),
                             "min_child_weight": [1, 3, 5]})
    return found


def fit(x, y, n_search, seed):
    """Tune and fit all classifiers.

    Parameters
    ----------
    x : ndarray (n_patients, n_features)
        NaN takes the median of the training patients.
    y : ndarray (n_patients,)
        1 pCR, 0 RD; each at least 2 * N_INNER_FOLDS times.
    n_search : int
        Settings tried for each classifier.

    Returns
    -------
    pipelines : list of Pipeline, one a classifier
    inner_auc : float
        Mean over classifiers of the AUC in inner folds, each with its best settings.
    """
    folds = StratifiedKFold(N_INNER_FOLDS, shuffle=True, random_state=seed)
    n_best = [k for k in N_BEST if k < x.shape[1]] or ["all"]
    searches = []
    for classifier, space in classifiers(seed).values():
        pipeline = Pipeline([("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
                             ("vary", Varying()), ("best", SelectKBest(f_classif)),
                             ("scale", StandardScaler()), ("classify", classifier)])
        space = {"best__k": n_best} | {f"classify__{name}": values for name, values in space.items()}
        search = RandomizedSearchCV(pipeline, space, n_iter=n_search, scoring="roc_auc", cv=folds, random_state=seed)
        with warnings.catch_warnings():  # all that they say is harmless here: features fewer than k or constant
            warnings.simplefilter("ignore")  # within a class, a saga that stops at max_iter
            searches.append(search.fit(x, y))
    return [search.best_estimator_ for search in searches], np.mean([search.best_score_ for search in searches])


def score(pipelines, x):
    """Mean probability of pCR, of one patient or many, each on its own; float64 (n_patients,)."""
    return np.mean([pipeline.predict_proba(x)[:, 1] for pipeline in pipelines], axis=0)


def fit_and_score(x, y, x_new, n_search, seed):
    """Scores of patients that are not in training, and the inner AUC of the training."""
    pipelines, inner_auc = fit(x, y, n_search, seed)
    return score(pipelines, x_new), inner_auc
