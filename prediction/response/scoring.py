"""Scores of feature sets and ensembles: which patients train, which are scored, and how scores are averaged.

Inside a cohort: stratified folds by patient, drawn anew with each seed; a patient's score is the mean over seeds of
out-of-fold scores. From another cohort: all of its patients train, once with each seed; a score is the mean over
seeds. An ensemble averages the scores of its members. The members of the top triple are those three whose classifiers
have the highest AUC in the inner folds of the training part, chosen anew for each part, so that its row is as honest
as that of one cell type. A pair that is picked from the finished table because it is the best there is not.
"""
import collections
import dataclasses
import logging

import numpy as np
import pandas as pd
import threadpoolctl
from sklearn.model_selection import StratifiedKFold

from response import classifiers, feature_sets
from slide_ex import sharing

N_TOP = 3
DECIMALS = 6  # of scores, so that equal patients tie and statistics follow from scores.csv to the last digit


@dataclasses.dataclass(frozen=True)
class Part:
    """One training of all feature sets."""
    train: np.ndarray  # rows of the training cohort
    new: np.ndarray    # rows of the cohort that is scored
    seed: int


@dataclasses.dataclass(frozen=True)
class Training:
    """One training of one feature set; result: scores of the part's new patients and the inner AUC, shared."""
    name: str
    part: Part
    result: np.ndarray

    @property
    def label(self):
        return f"{self.name} (seed {self.part.seed}, {len(self.part.new)} patients scored)"


def draw_parts(patients, is_one_cohort, repeats, seed):
    """Stratified folds of one cohort, or all of it for all of the other; `repeats` times with different seeds."""
    made = []
    for repeat in range(repeats):
        folds = [(np.arange(len(patients.ids)), np.arange(len(patients.new_ids)))]
        if is_one_cohort:
            folds = StratifiedKFold(classifiers.N_FOLDS, shuffle=True, random_state=seed + repeat).split(
                patients.ids, patients.strata)
        made += [Part(train, new, seed + repeat) for train, new in folds]
    return made


def of_sets(arrays, y, parts, n_search, processes, model=classifiers):
    """Fit all feature sets but those of `direct`, a part of a set at a time in each process.

    With `model` cox in the place of classifiers it is survival: y has two columns, AUC is the concordance.

    Parameters
    ----------
    arrays : dict of name to (x, x_new)
        Patients x features, of those who train and of those who are scored.
    y : ndarray (n_train,)
        1 pCR, 0 RD.

    Returns
    -------
    dict of name to list of (scores, inner AUC), one a part

    Raises
    ------
    ValueError
        Where one cannot be fitted, with all that could not and why.
    """
    names = [name for name in arrays if name not in feature_sets.DIRECT]
    tasks = [Training(name, part, sharing.array(len(part.new) + 1)) for name in names for part in parts]

    def work(task):
        x, x_new = arrays[task.name]
        with threadpoolctl.threadpool_limits(1):    # processes fill the CPUs, and must not change the numbers
            task.result[:-1], task.result[-1] = model.fit_and_score(
                x[task.part.train], y[task.part.train], x_new[task.part.new], n_search, task.part.seed)
    sharing.share_all(tasks, work, processes, "training", "finished")
    fitted = {name: [(task.result[:-1], task.result[-1]) for task in tasks if task.name == name] for name in names}
    for name, of_parts in fitted.items():
        logging.info(f"{name}: {arrays[name][0].shape[1]} features, {'AUC' if model is classifiers else 'concordance'} "
                     f"in inner folds {np.mean([inner for _, inner in of_parts]):.3f}")
    return fitted


def of_rows(rows, fitted, arrays, parts, ids):
    """Scores of all rows of the comparison, averaged over parts and members; DataFrame (patients x rows).

    Parameters
    ----------
    rows : dict of name to members
    fitted : dict of feature set to what `of_sets` yields
    arrays : dict
        feature_sets.DIRECT are scores as they are.
    """
    single = {name: averaged([scores for scores, _ in of_parts], parts, len(ids)) for name, of_parts in fitted.items()}
    single |= {name: arrays[name][1][:, 0] for name in feature_sets.DIRECT if name in arrays}
    columns = {}
    for name, members in rows.items():
        if name == feature_sets.TOP:
            columns[name] = averaged(of_top({member: fitted[member] for member in members}), parts, len(ids))
        else:
            columns[name] = np.mean([single[member] for member in members], axis=0)
    return pd.DataFrame(columns, pd.Index(ids, name="patient_id")).round(DECIMALS)


def averaged(scores, parts, n_patients):
    """Mean over parts of each patient's scores; (n_patients,)."""
    total, n_scores = np.zeros(n_patients), np.zeros(n_patients)
    for part, of_part in zip(parts, scores):
        total[part.new] += of_part
        n_scores[part.new] += 1
    return total / n_scores


def of_top(fitted):
    """Scores of each part, averaged over the N_TOP feature sets that are best in its inner folds; with a note."""
    made, counts = [], collections.Counter()
    for of_part in zip(*fitted.values()):
        best = sorted(zip(of_part, fitted), key=lambda pair: (-pair[0][1], pair[1]))[:N_TOP]
        made.append(np.mean([scores for (scores, _), _ in best], axis=0))
        counts.update(name for _, name in best)
    logging.info(f"{feature_sets.TOP}: chosen in {len(made)} training parts, "
                 + ", ".join(f"{name} {count}" for name, count in counts.most_common()))
    return made
