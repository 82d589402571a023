"""The table of tile encoders: what each takes, what it gives, where its weights come from.

A new encoder is one more row of ENCODERS.
"""
from collections.abc import Callable
from dataclasses import dataclass

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class EncoderRow:
    """One encoder. `build()` gives the network without trained weights: (n, 3, input_px, input_px) -> (n, n_features)."""

    name: str
    n_features: int
    build: Callable
    weights_from: str
    licence: str
    citation: str
    input_px: int = 224
    mean: tuple = IMAGENET_MEAN
    std: tuple = IMAGENET_STD


def build_resnet50():
    """ResNet-50, global average pooling instead of the classifier."""
    import torch
    import torchvision

    network = torchvision.models.resnet50(weights=None)
    network.fc = torch.nn.Identity()
    return network


ENCODERS = {row.name: row for row in [
    EncoderRow("resnet50", 2048, build_resnet50, "torchvision, ResNet50_Weights.IMAGENET1K_V2", "BSD-3-Clause",
               "He et al., CVPR 2016, doi 10.1109/CVPR.2016.90"),
]}
