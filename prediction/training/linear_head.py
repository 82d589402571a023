"""The linear head: all models whose prediction of a slide is one matrix. Linearity is assumed here and nowhere else.

    y = W x + b        x: mean feature of a slide, followed by its mean colour where W has three columns more

A regression network is one, W = W1 W0, and so is a low-rank model, which has the same layers with as many hidden units
as its rank. The mean over tiles commutes with it, so that x can be the feature of a tile, and the mean of several
models is one matrix again. A state is a dict of arrays: first.* and last.*, or weight and bias. The direct network has
ReLU and is no linear head; the direct low-rank model is one, of the logit.
"""
import numpy as np


def predict(state, features, colours=None):
    """Predictions, float64 (n_rows, n_outputs), of rows of features and of colours (NaN or None: not known)."""
    if "weight" in state:
        return inputs(features, colours, state["weight"]) @ state["weight"].T + state["bias"]
    hidden = inputs(features, colours, state["first.weight"]) @ state["first.weight"].T + state["first.bias"]
    return hidden @ state["last.weight"].T + state["last.bias"]


def inputs(features, colours, weight):
    """What a matrix (n, n_inputs) multiplies: features alone or with colours; ValueError where these are not known."""
    features = features.astype(float)
    if weight.shape[1] == features.shape[1]:
        return features
    if colours is None or not np.isfinite(colours).all():
        raise ValueError("the low-rank models use the mean colour, which is not recorded for these slides: process "
                         "them with slide_processing/1main_processing.py, or give --use network where there are "
                         "networks")
    return np.concatenate([features, colours.astype(float)], axis=1)


def probability(logit):
    return 1 / (1 + np.exp(-logit))


def mean_matrix(states, rows=slice(None)):
    """The one matrix and bias that predict the mean of several models, exactly; float64.

    mean_m (W1_m (W0_m x + b0_m) + b1_m) = W x + b with W = mean_m W1_m W0_m and b = mean_m (W1_m b0_m + b1_m).
    Products of float32 layers are of float32, what the layers are known to; their sum is of float64. With `rows` only
    these outputs are computed. A model without colours has zeros for them beside one that uses them.
    """
    weight, bias, n_models = None, 0.0, 0
    for state in states:
        of_model, bias_of_model = matrix(state, rows)
        if weight is None:
            weight = np.zeros(of_model.shape)
        if weight.shape != of_model.shape:
            n_inputs = max(weight.shape[1], of_model.shape[1])
            weight, of_model = (np.pad(one, ((0, 0), (0, n_inputs - one.shape[1]))) for one in (weight, of_model))
        weight += of_model      # in place: a new matrix would take as long as its product
        bias, n_models = bias + bias_of_model, n_models + 1
    return {"weight": weight / n_models, "bias": bias / n_models}


def matrix(state, rows=slice(None)):
    """Weight (n_rows, n_inputs), in the type of the layers, and bias (n_rows,), float64, of one model."""
    if "weight" in state:
        return state["weight"][rows], state["bias"][rows].astype(float)
    last = state["last.weight"][rows]
    return last @ state["first.weight"], last.astype(float) @ state["first.bias"] + state["last.bias"][rows]
