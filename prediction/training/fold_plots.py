"""The two pictures in the folder of a trained model: its losses and its best predictions. Drawn without a display.

There are hundreds of models, so margins and titles have fixed places and axes few ticks: a computed layout and twenty
ticks take longer than the drawing.
"""
import matplotlib.figure
import numpy as np

N_BEST = 3                            # outputs in best_preds.pdf
N_TICKS = 3                           # of an axis at most, but one
TRAIN, VALID = "#0072B2", "#E69F00"   # Okabe and Ito, safe for colour-blind readers


def losses(history):
    """Losses and validation score over epochs, the best epoch marked. history: list of dict, see mlp.fit."""
    score = list(history[0])[-1]
    epochs = [epoch["epoch"] for epoch in history]
    figure = matplotlib.figure.Figure(figsize=(4, 3), layout="none")
    figure.subplots_adjust(left=0.17, right=0.97, bottom=0.16, top=0.96)
    axis = figure.add_subplot(xlabel="Epoch", ylabel="Loss")
    for name, colour in (("train_loss", TRAIN), ("valid_loss", VALID)):
        axis.plot(epochs, [epoch[name] for epoch in history], color=colour, label=name.replace("_", " "))
    axis.axvline(max(history, key=lambda epoch: epoch[score])["epoch"], color="grey", linestyle=":",
                 label=f"best {score.replace('_', ' ')}")
    axis.legend(frameon=False)
    return figure


def best_predictions(labels, predictions, outputs, correlations):
    """Prediction against label on the test slides, for the outputs with the highest correlations (n_outputs,)."""
    best = np.argsort(-np.nan_to_num(correlations, nan=-2), kind="stable")[:N_BEST]
    width_in = 2.4 * len(best)
    figure = matplotlib.figure.Figure(figsize=(width_in, 2.4), layout="none")
    figure.subplots_adjust(left=0.6 / width_in, right=1 - 0.1 / width_in, bottom=0.2, top=0.88, wspace=0.4)
    for axis, column in zip(figure.subplots(1, len(best), squeeze=False)[0], best):
        axis.scatter(labels[:, column], predictions[:, column], s=5, color=TRAIN, linewidths=0)
        axis.set(xlabel="Label", ylabel="Prediction")
        axis.set_title(f"{outputs[column]}, R {correlations[column]:.2f}", y=1)
        axis.locator_params(nbins=N_TICKS)
    return figure


def probabilities(labels, predictions, response):
    """Predicted probability of a response (its word) of the test slides in each class; 0 or 1, both (n_slides,)."""
    figure = matplotlib.figure.Figure(figsize=(2.4, 2.4))
    figure.subplots_adjust(left=0.25, right=0.95, bottom=0.12, top=0.95)
    axis = figure.add_subplot(ylabel=f"Predicted probability of {response}", xticks=[0, 1],
                              xticklabels=[f"no {response}", response], xlim=(-0.5, 1.5), ylim=(-0.02, 1.02))
    axis.scatter(labels, predictions, s=8, color=TRAIN, alpha=0.6, linewidths=0)
    return figure


def save(figure, path):
    """Write a PDF that is the same whenever it is drawn."""
    figure.savefig(path, metadata={"CreationDate": None})
