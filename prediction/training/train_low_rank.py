"""Solves the low-rank models of one target and outer fold, and writes their folders."""
import logging
import time

import numpy as np
import pandas as pd
import threadpoolctl
import torch

from slide_ex import script
from slide_ex.project import model_folder, splits_file
from training import (
    fold_folder,
    fold_plots,  # noqa: F401  imported before processes are forked, once for all of them
    linear_head,
    low_rank,
)


class Trainer:
    """What the low-rank models of a cohort share: slides, folds, and the decompositions of the last outer fold."""

    def __init__(self, slides, splits):
        self.slides, self.splits = slides, splits
        self.outer, self.kernels = None, {}

    def train(self, task):
        """Train the models of a cross_validation.LowRankTask; each folder is whole or not there.

        One thread a process, so that numbers do not depend on the number of processes.
        """
        started = time.perf_counter()
        with threadpoolctl.threadpool_limits(1):
            if task.outer != self.outer:
                self.outer, self.kernels = task.outer, {}
            labels = task.target.of_slides(self.slides)
            rows = [splits_file.rows_of_parts(task.target, labels, task.outer, inner, self.slides, self.splits)
                    for inner in range(self.splits["n_inner"])]
            parts = [(of_inner["train"], of_inner["valid"]) for of_inner in rows]
            prepared = low_rank.prepare(labels, parts)
            choice, table = low_rank.choose(self.kernel, parts, prepared, task.colour_weights)
            calibration = None
            if task.target.name == "direct":
                calibration = self.calibration(parts, labels, prepared, choice)
            for inner, record, path in task.models:
                state = self.state(rows[inner]["train"], prepared, choice, calibration)
                self.write(task, record, path, state, rows[inner], labels, table)
        score = max(candidate["valid_r"] for candidate in table)
        logging.info(f"{task.label}: valid_r {score:.3f} with penalty {choice.penalty:.2g}, rank {choice.rank}, colour "
                     f"weight {choice.colour_weight:g}, {time.perf_counter() - started:.1f} s")

    def kernel(self, train, colour_weight):
        """low_rank.Kernel of a training part, kept for the other targets."""
        key = train.tobytes(), colour_weight
        if key not in self.kernels:
            self.kernels[key] = low_rank.kernel(self.slides.mean_features, self.slides.mean_rgb, train, colour_weight)
        return self.kernels[key]

    def state(self, train, labels, choice, calibration=None):
        """The model of a training part; with a calibration (slope, intercept) the logit of a probability."""
        state = low_rank.fit(self.kernel(train, choice.colour_weight), labels, choice.penalty, choice.rank)
        if calibration:
            state = low_rank.calibrated(state, *calibration)
        return {name: values.astype(np.float32) for name, values in state.items()}

    def calibration(self, parts, labels, prepared, choice):
        """Slope and intercept of the logit of pCR on the prediction (Platt, 1999), from the validation slides.

        A ridge on 0 and 1 is a score; in the validation parts of all inner folds it meets slides that it has not seen.
        """
        scores = [self.predict(self.state(train, prepared, choice), valid)[:, 0] for train, valid in parts]
        return platt(np.concatenate(scores), np.concatenate([labels[valid, 0] for _, valid in parts]))

    def predict(self, state, rows):
        return linear_head.predict(state, self.slides.mean_features[rows], self.slides.mean_rgb[rows])

    def write(self, task, record, path, state, rows, labels, table):
        """Write the folder of one model."""
        slides, parts = self.slides, {}
        for name in ("valid", "test"):
            values = self.predict(state, rows[name])
            if task.target.name == "direct":
                values = linear_head.probability(values)
            parts[name] = {"slide_ids": slides.slide_ids[rows[name]], "patient_ids": slides.patient_ids[rows[name]],
                           "labels": labels[rows[name]], "predictions": values.astype(np.float32)}
        with script.whole(path) as part:
            part.mkdir()
            pd.DataFrame(table).to_csv(part / "choice.csv", index=False, float_format="%.6g")
            made_with = {"device": "cpu", "numpy": np.__version__}
            fold_folder.write(part, {**record, model_folder.MADE_WITH: made_with},
                              {name: torch.from_numpy(values) for name, values in state.items()}, task.target.outputs,
                              parts)


def platt(scores, labels):
    """Slope and intercept of Platt's logistic regression of labels (0 or 1) on scores.

    Scores that do not rank the validation slides as they should say nothing: the slope is 0, not negative. Where they
    separate the labels, no slope is steep enough: then labels are Platt's targets, short of 0 and 1, so that new slides
    with different scores keep different probabilities.
    """
    from sklearn.linear_model import LogisticRegression
    spread, is_positive, share = scores.std(), labels > 0, labels.mean()
    if spread > 0:
        x, y, weights = (scores / spread)[:, None], is_positive, None
        if scores[is_positive].min() > scores[~is_positive].max():
            targets = np.where(is_positive, 1 - 1 / (is_positive.sum() + 2), 1 / ((~is_positive).sum() + 2))
            x, y, weights = np.tile(x, (2, 1)), np.repeat([1, 0], len(x)), np.r_[targets, 1 - targets]
        fitted = LogisticRegression(C=1e6, max_iter=1000).fit(x, y, weights)
        slope = fitted.coef_[0, 0] / spread
        if slope > 0:
            return slope, fitted.intercept_[0]
    return 0.0, np.log(share / (1 - share))
