"""Applies trained models to the slides of another cohort: mean and spread over models, per slide and per patient.

Models are taken one after the other (running mean and sum of squares; Welford 1962), so that memory does not grow with
their number.
"""
import dataclasses
import functools

import numpy as np

from evaluation import out_of_fold
from training import linear_head, model_config


@dataclasses.dataclass(frozen=True)
class CohortPrediction:
    """Predictions of one target; a patient is the mean of its slides, as in out_of_fold.py."""
    outputs: np.ndarray       # str (n_outputs,)
    of_slides: np.ndarray     # float32 (n_slides, n_outputs)   mean over models
    patient_ids: np.ndarray   # str (n_patients,), sorted
    predictions: np.ndarray   # float32 (n_patients, n_outputs)   mean over models
    spread: np.ndarray | None  # the same shape: sd over models (n - 1); None with one model, or only their mean
    n_models: int


class RunningMoments:
    """Mean and sd of arrays that come one at a time; in place, because fresh arrays of all slides and genes take longer
    than what is computed."""

    def __init__(self):
        self.n, self.mean, self.squares = 0, None, None

    def add(self, values):
        self.n += 1
        if self.n == 1:
            self.mean = values.astype(float)
            return
        difference = values - self.mean
        self.mean += difference / self.n
        difference *= values - self.mean
        self.squares = difference if self.squares is None else np.add(self.squares, difference, out=self.squares)

    def sd(self):
        return np.sqrt(self.squares / (self.n - 1)) if self.n > 1 else None


def predict(target, slides, folds):
    """CohortPrediction of the mean of the models of some folds of a trained_models.TrainedTarget."""
    apply = {"regression": linear, "classification": response}[target.head](slides)
    sum_of_slides, of_patients = 0.0, RunningMoments()
    for state in target.states(folds):
        values = apply(state)
        if values.shape[1] != len(target.outputs):
            raise ValueError(f"a model of {target.name} has {values.shape[1]} outputs, {len(target.outputs)} names")
        patients, (means,) = out_of_fold.mean_by_patient(slides.patient_ids, values)
        sum_of_slides += values
        of_patients.add(means)
    spread = of_patients.sd()
    return CohortPrediction(target.outputs, (sum_of_slides / of_patients.n).astype(np.float32), patients,
                            of_patients.mean.astype(np.float32), None if spread is None else spread.astype(np.float32),
                            len(folds) * len(target.models) or target.n_models)


def linear(slides):
    """Function from the weights of a linear head (or their mean) to predictions, float64 (n_slides, n_outputs)."""
    return lambda state: linear_head.predict(state, slides.mean_features, slides.mean_rgb)


def response(slides):
    """Function from the weights of a direct model to probabilities of pCR, (n_slides, 1); a low-rank one is linear."""
    of_networks = functools.cache(lambda: classifier(slides))  # made only where there is a network: it reads all tiles
    of_logit = linear(slides)
    return lambda state: linear_head.probability(of_logit(state)) if "weight" in state else of_networks()(state)


def classifier(slides):
    """Function from the weights of a direct network to probabilities of pCR, (n_slides, 1); every tile is read."""
    import torch

    from training import mlp, pooling
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pool = pooling.TilePooling(slides, device)
    rows = torch.arange(len(slides.slide_ids), device=device)

    def apply(state):
        hidden, n_features = state["first.weight"].shape
        config = model_config.Config("classification", "tiles", max_epochs=0, patience=0, hidden=hidden)
        network = mlp.Network(n_features, len(state["last.bias"]), config, torch.Generator(device))
        network.load_state_dict({name: torch.from_numpy(values) for name, values in state.items()})
        return mlp.predict(network, pool, rows).astype(float)
    return apply
