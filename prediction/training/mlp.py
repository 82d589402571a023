"""The model, from features of tiles to labels of a slide: network, fit, predict (pooling.py: tiles to slides).

    h_t = Dropout(W0 x_t + b0)              x_t: feature of tile t; the classifier has ReLU before the dropout
    y   = W1 mean over tiles of h_t + b1    b1 of a regression starts at the mean training label

The mean over tiles commutes with the last layer, so it is taken before that wide layer, at a cost n_tiles times
smaller. Without dropout and ReLU it commutes with the first layer too: a regression is evaluated on slide means.
"""
import copy

import numpy as np
import torch
from torch import nn

from evaluation import association
from training import wide_layer

CONSTANT = 1e-6  # sd of a feature, relative to its mean, below which float32 means are constant


class Network(nn.Module):
    """Two linear layers, drawn as nn.Linear draws them but from `generator`; state dict: first.*, last.*"""

    def __init__(self, n_features, n_outputs, config, generator):
        super().__init__()
        self.config = config
        self.first = nn.Linear(n_features, config.hidden, device=generator.device)
        self.last = nn.Linear(config.hidden, n_outputs, device=generator.device)
        for layer in (self.first, self.last):
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -layer.in_features ** -0.5, layer.in_features ** -0.5, generator=generator)


class Standardised(nn.Module):
    """A first layer that learns on standardised features; weight and bias are those for features as they are.

        h = V (x - c) s + a = W x + b        W = V diag(s), b = a - W c

    linear : nn.Linear, of V and a
    means : tensor (n_train, n_features), whose columns have the mean c and the sd 1 / s; s is 0 where they are constant
    """

    def __init__(self, linear, means):
        super().__init__()
        self.linear, self.in_features = linear, linear.in_features
        centre, sd = means.mean(0), means.std(0, correction=0)
        varies = sd > CONSTANT * centre.abs()
        self.register_buffer("centre", centre)
        self.register_buffer("scale", torch.where(varies, 1 / torch.where(varies, sd, 1), 0))

    @property
    def weight(self):
        return self.linear.weight * self.scale

    @property
    def bias(self):
        return self.linear.bias - self.weight @ self.centre

    def forward(self, features):
        return nn.functional.linear(features, self.weight, self.bias)

    @torch.no_grad()
    def plain(self):
        """The same as nn.Linear."""
        weight, bias = self.weight, self.bias  # of the layer before it is changed
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)
        return self.linear


def fit(pooling, labels, train, valid, config):
    """Train one model with early stopping on the validation slides.

    Parameters
    ----------
    pooling : pooling.TilePooling or pooling.MeanPooling
    labels : float32 tensor (n_slides, n_outputs)
    train, valid : int64 tensors of row numbers
    config : model_config.Config

    Returns
    -------
    network : Network
        Weights of the epoch with the best validation score (or the last epoch, by config.keep).
    history : list of dict
        epoch (from 1), train_loss, valid_loss, and the score: valid_r, the mean over outputs of Pearson R, or
        valid_accuracy at probability 0.5. Outputs without an R on these slides do not enter the mean.

    Raises ValueError when no validation score can be computed.
    """
    generator = torch.Generator(labels.device).manual_seed(config.seed)
    network = Network(pooling.means.shape[1], labels.shape[1], config, generator)
    if config.standardise:
        network.first = Standardised(network.first, pooling.means[train])
    if config.head == "regression":
        network.last.bias.data = labels[train].mean(0)
    first = wide_layer.Adam(network.first.parameters(), config.learning_rate)
    last = wide_layer.WideLayer(network.last, LOSSES[config.head], config.learning_rate)
    score_name, score_of = SCORES[config.head]
    history, best_score, best_epoch, best_state = [], -np.inf, 0, copy.deepcopy(network.state_dict())
    labels_of_valid = labels[valid]
    for epoch in range(1, config.max_epochs + 1):
        train_loss = 0.0
        order = torch.randperm(len(train), generator=generator, device=train.device)
        for rows in train[order].split(config.batch_size):
            loss = one_step(first, last, pooling(network, rows, generator), labels[rows])
            train_loss += loss * len(rows) / len(train)
        valid_loss, scores = last.loss_and_scores(hidden_units(network, pooling, valid), labels_of_valid, score_of)
        score = mean_score(scores)
        history.append({"epoch": epoch, "train_loss": train_loss, "valid_loss": valid_loss, score_name: score})
        if score > best_score:
            best_score, best_epoch = score, epoch
            for name, tensor in network.state_dict().items():
                best_state[name].copy_(tensor)
        if epoch - best_epoch >= config.patience or (score == 1 and config.keep == "best"):  # nothing is better than 1
            break
    if config.keep == "best":
        network.load_state_dict(best_state)
    if config.standardise:
        network.first = network.first.plain()
    return network, history


def one_step(first, last, hidden, labels):
    """One step of both layers on hidden units of slides and their labels; the loss before it.

    first : wide_layer.Adam of the first layer
    last : wide_layer.WideLayer
    """
    loss, gradient = last.step(hidden.detach(), labels)
    first.step(torch.autograd.grad(hidden, first.parameters, gradient))
    return loss.item()


def accuracy(outputs, labels):
    """Share of samples on the right side of probability 0.5, of each output; tensor (n_outputs,)."""
    return ((outputs > 0) == (labels > 0)).float().mean(0)


LOSSES = {"regression": wide_layer.squared_error, "classification": wide_layer.cross_entropy}
SCORES = {"regression": ("valid_r", association.pearson), "classification": ("valid_accuracy", accuracy)}


def mean_score(scores):
    """The score of early stopping, of those of all outputs; ValueError where no output has one."""
    score = scores.nanmean().item()
    if np.isnan(score):
        raise ValueError("no output has a correlation on the validation slides: their labels are constant, or the "
                         "loss has become NaN")
    return score


@torch.no_grad()
def hidden_units(network, pooling, rows):
    """Hidden units of slides without dropout, mean over tiles; tensor (n_rows, hidden)."""
    return torch.cat([pooling(network, part) for part in rows.split(network.config.batch_size)])


@torch.no_grad()
def predict(network, pooling, rows):
    """Predictions as they are reported; float32 array (n_rows, n_outputs), probabilities for a classifier."""
    outputs = network.last(hidden_units(network, pooling, rows))
    return (outputs.sigmoid() if network.config.head == "classification" else outputs).cpu().numpy()
