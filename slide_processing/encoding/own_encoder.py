"""An encoder in a file of the user's own: --encoder my_encoder.py:build.

build() takes nothing and gives (module, input_px, mean, sd): a torch module with its weights, which makes (n,
n_features) of (n, 3, input_px, input_px); the side of its input; mean and standard deviation of each colour, of values
from 0 to 1. The file is run, so use only one that you trust. Records know it by its name, SHA-256 of the file, and of
file and weights.
"""
import functools
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slide_ex import checksums

WEIGHTS = "own"     # in records: the module comes with them
MAX_INPUT_PX = 4096


@dataclass(frozen=True)
class Own:
    """What a file gives."""
    module: object
    n_features: int
    input_px: int
    mean: tuple
    std: tuple
    file_sha256: str
    weights_sha256: str     # of file and weights: the same weights in other code are another encoder


def is_own(name):
    """Whether an encoder is named as file.py:function."""
    return ".py:" in name


def name_in_records(name):
    """my_encoder.py:build for any path to it."""
    return Path(name).name


def file_of(name):
    path, _, function = name.rpartition(":")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"--encoder {name}: {path} is missing: give FILE.py:FUNCTION")
    return path, function


@functools.cache
def load(name):
    """The encoder (Own), its module in evaluation mode; built once.

    ValueError for a file that fails, and for what is no encoder.
    """
    path, function = file_of(name)
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        source = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(source)
        module, input_px, mean, sd = getattr(source, function)()
        mean, sd = (np.array(values, float) for values in (mean, sd))
    except Exception as error:  # whatever a user's file does
        raise ValueError(f"--encoder {name} failed ({type(error).__name__}: {' '.join(str(error).split())[:300]}): "
                         f"{function}() gives a module, input_px, mean and sd") from None
    refuse_unfit(name, module, input_px, mean, sd)
    file_sha256 = checksums.of_file(path)
    return Own(module.eval(), n_features_of(module, input_px, name), input_px, tuple(mean), tuple(sd), file_sha256,
               checksums.of_text(file_sha256 + weights_of(module)))


def refuse_unfit(name, module, input_px, mean, sd):
    """ValueError unless these are a torch module, a side in px, and mean and standard deviation of three colours."""
    import torch
    is_side = isinstance(input_px, int) and 0 < input_px <= MAX_INPUT_PX
    are_colours = mean.shape == sd.shape == (3,) and (np.abs(mean) <= 1).all() and (sd > 0).all()
    if not (isinstance(module, torch.nn.Module) and is_side and are_colours):
        raise ValueError(f"--encoder {name} gave {type(module).__name__}, {input_px}, {mean}, {sd}, needed: a "
                         "torch.nn.Module, the side of its input in px, mean and sd of three colours, of values from 0 "
                         "to 1")


def n_features_of(module, input_px, name):
    """How many numbers the module gives of a picture; ValueError for any other output."""
    import torch
    try:
        with torch.inference_mode():
            found = module(torch.zeros(2, 3, input_px, input_px))
    except Exception as error:
        raise ValueError(f"--encoder {name} fails on pictures of {input_px} px ({type(error).__name__}: "
                         f"{' '.join(str(error).split())[:300]})") from None
    if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != 2 or not found.isfinite().all():
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise ValueError(f"--encoder {name} gives {shape} of 2 pictures, needed: finite numbers (2, n_features); take "
                         "the class token, or a mean, in a module around it")
    return found.shape[1]


def weights_of(module):
    """SHA-256 of all weights and buffers, by name."""
    digest = hashlib.sha256()
    for name, values in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(values.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()
