"""The two pictures in the folder of a trained model: its losses and its best predictions. Drawn without a display.

There are hundreds of models, so margins and titles have fixed places and axes few ticks: a computed layout and twenty
ticks take longer than the drawing. For the same reason a process makes each kind of figure once, and gives it other
data and limits for each model; a picture is to be saved before the next of its kind is asked for.
"""
import functools

import matplotlib.figure
import numpy as np

N_BEST = 3                            # outputs in best_preds.pdf
N_TICKS = 3                           # of an axis at most, but one
TRAIN, VALID = "#0072B2", "#E69F00"   # Okabe and Ito, safe for colour-blind readers
POINTS = {"marker": "o", "linestyle": "none", "color": TRAIN, "markeredgewidth": 0}


def losses(history):
    """Losses and validation score over epochs, the best epoch marked. history: list of dict, see mlp.fit."""
    score = list(history[0])[-1]
    figure = empty_losses(score.replace("_", " "))
    train, valid, best = figure.axes[0].lines
    epochs = [epoch["epoch"] for epoch in history]
    train.set_data(epochs, [epoch["train_loss"] for epoch in history])
    valid.set_data(epochs, [epoch["valid_loss"] for epoch in history])
    best.set_xdata([max(history, key=lambda epoch: epoch[score])["epoch"]] * 2)
    return fitted(figure)


@functools.cache
def empty_losses(score):
    """The figure of `losses`, without any."""
    figure = matplotlib.figure.Figure(figsize=(4, 3), layout="none")
    figure.subplots_adjust(left=0.17, right=0.97, bottom=0.16, top=0.96)
    axis = figure.add_subplot(xlabel="Epoch", ylabel="Loss")
    for name, colour in (("train loss", TRAIN), ("valid loss", VALID)):
        axis.plot([], [], color=colour, label=name)
    axis.axvline(color="grey", linestyle=":", label=f"best {score}")
    axis.legend(frameon=False)
    return figure


def best_predictions(labels, predictions, outputs, correlations):
    """Prediction against label on the test slides, for the outputs with the highest correlations (n_outputs,)."""
    best = np.argsort(-np.nan_to_num(correlations, nan=-2), kind="stable")[:N_BEST]
    figure = empty_predictions(len(best))
    for axis, column in zip(figure.axes, best):
        axis.lines[0].set_data(labels[:, column], predictions[:, column])
        axis.set_title(f"{outputs[column]}, R {correlations[column]:.2f}", y=1)
    return fitted(figure)


@functools.cache
def empty_predictions(n_outputs):
    """The figure of `best_predictions`, without any."""
    width_in = 2.4 * n_outputs
    figure = matplotlib.figure.Figure(figsize=(width_in, 2.4), layout="none")
    figure.subplots_adjust(left=0.6 / width_in, right=1 - 0.1 / width_in, bottom=0.2, top=0.88, wspace=0.4)
    for axis in figure.subplots(1, n_outputs, squeeze=False)[0]:
        axis.plot([], [], **POINTS, markersize=2.2)
        axis.set(xlabel="Label", ylabel="Prediction")
        axis.locator_params(nbins=N_TICKS)
    return figure


def probabilities(labels, predictions, response):
    """Predicted probability of a response (its word) of the test slides in each class; 0 or 1, both (n_slides,)."""
    figure = empty_probabilities(response)
    figure.axes[0].lines[0].set_data(labels, predictions)
    return figure


@functools.cache
def empty_probabilities(response):
    """The figure of `probabilities`, without any."""
    figure = matplotlib.figure.Figure(figsize=(2.4, 2.4), layout="none")
    figure.subplots_adjust(left=0.25, right=0.95, bottom=0.12, top=0.95)
    axis = figure.add_subplot(ylabel=f"Predicted probability of {response}", xticks=[0, 1],
                              xticklabels=[f"no {response}", response], xlim=(-0.5, 1.5), ylim=(-0.02, 1.02))
    axis.plot([], [], **POINTS, markersize=2.8, alpha=0.6)
    return figure


def fitted(figure):
    """The figure, its axes as wide as their data."""
    for axis in figure.axes:
        axis.relim()
        axis.autoscale_view()
    return figure


def save(figure, path):
    """Write a PDF that is the same whenever it is drawn."""
    figure.set_layout_engine("none")    # which saving sets to what the user's matplotlibrc says
    figure.savefig(path, metadata={"CreationDate": None})
