"""A random ResNet-50 none of whose branches is silent, as those of a trained one: for numbers, precision and speed.

Of `--weights random` all residual branches add 0, so that most of the network has no part in its features.
"""
import dataclasses

import torch
import torchvision

from encoding import encoder_weights
from encoding.encoders import ENCODERS


def build():
    network = torchvision.models.resnet50(weights=None)
    network.fc = torch.nn.Identity()
    return network


def network(seed=0):
    """The network with random weights, in evaluation mode."""
    return encoder_weights.load(dataclasses.replace(ENCODERS["resnet50"], build=build), "random", seed)[0]


def save(path):
    """Write its weights as torchvision does, with a classifier; gives the path."""
    torch.save(network().state_dict() | torch.nn.Linear(2048, 1000).state_dict(prefix="fc."), path)
    return path
