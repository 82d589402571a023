"""Applies trained models to the slides of another cohort: mean and spread over models, per slide and per patient.

Models are taken one after the other (running mean and sum of squares; Welford 1962), so that memory does not grow with
their number.
"""
import dataclasses

import numpy as np

from training import model_config


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
    """Mean and sd of arrays that come one at a time."""

    def __init__(self):
        self.n, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, values):
        self.n += 1
        from_old_mean = values - self.mean
        self.mean = self.mean + from_old_mean / self.n
        self.squares = self.squares + from_old_mean * (values - self.mean)

    def sd(self):
        return np.sqrt(self.squares / (self.n - 1)) if self.n > 1 else None


def predict(target, slides, folds):
    """CohortPrediction of the mean of the models of some folds of a trained_models.TrainedTarget."""
    apply = {"regression": linear, "classification": classifier}[target.head](slides)
    patients, row = np.unique(slides.patient_ids, return_inverse=True)
    n_slides = np.bincount(row)[:, None]
    of_slides, of_patients = RunningMoments(), RunningMoments()
    for state in target.states(folds):
        values = apply(state)
        if values.shape[1] != len(target.outputs):
            raise ValueError(f"a model of {target.name} has {values.shape[1]} outputs, {len(target.outputs)} names")
        total = np.zeros((len(patients), values.shape[1]))
        np.add.at(total, row, values)
        of_slides.add(values)
        of_patients.add(total / n_slides)
    spread = of_patients.sd()
    return CohortPrediction(target.outputs, of_slides.mean.astype(np.float32), patients,
                            of_patients.mean.astype(np.float32), None if spread is None else spread.astype(np.float32),
                            len(folds) or target.n_models)


def linear(slides):
    """Function from the weights of a regression (or the mean of several) to predictions, float64 (n_slides, n_outputs).

    Without dropout the mean over tiles commutes with both layers, so the mean feature of a slide is enough.
    """
    means = slides.mean_features.astype(float)

    def apply(state):
        if "weight" in state:
            return means @ state["weight"].T + state["bias"]
        hidden = means @ state["first.weight"].T + state["first.bias"]
        return hidden @ state["last.weight"].T + state["last.bias"]
    return apply


def classifier(slides):
    """Function from the weights of a direct model to probabilities of pCR, (n_slides, 1); every tile is read."""
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


def mean_matrix(states, rows=slice(None)):
    """The one matrix and bias that predict the mean of all models of a regression, exactly; float64.

    mean_m (W1_m (W0_m x + b0_m) + b1_m) = W x + b with W = mean_m W1_m W0_m and b = mean_m (W1_m b0_m + b1_m). With
    `rows` only these outputs are computed. Of a bundle that has only the mean of its models, that is the one state.
    """
    weight, bias, n_models = 0.0, 0.0, 0
    for state in states:
        if "weight" in state:
            weight, bias = weight + state["weight"][rows].astype(float), bias + state["bias"][rows].astype(float)
        else:
            last = state["last.weight"][rows].astype(float)
            weight += last @ state["first.weight"]
            bias += last @ state["first.bias"] + state["last.bias"][rows]
        n_models += 1
    return {"weight": weight / n_models, "bias": bias / n_models}
