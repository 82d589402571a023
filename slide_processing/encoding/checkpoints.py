"""Weights from a file: which of its tensors are those of an encoder, and what a file is that holds none.

Training code wraps a state dict in dicts ({"state_dict": ...}, DINO's {"student": ..., "teacher": ...}) and in front of
its names it puts those of the modules around the network ("module.", "backbone."). The one wrapper and prefix under
which all names fit is taken, and said; where none does, nothing is loaded.
"""
import logging
import zipfile
from collections.abc import Mapping

MAX_DEPTH = 3           # of wrappers in each other, and of names in a prefix
PREFERRED = "teacher"   # of DINO's two networks, the one that its authors use
COUNTERS = "num_batches_tracked"    # buffers that old checkpoints lack, and that change nothing
FOREIGN = ((b"version https://git-lfs", "it is a Git LFS pointer: run git lfs pull where it came from"),
           (b"<!doctype html", "it is a web page: download the weights again, logged in where that is needed"),
           (b"<html", "it is a web page: download the weights again, logged in where that is needed"),
           (b"\x1f\x8b", "it is compressed (gzip): unpack it"))

HOLDS_MORE = ("it holds more than tensors, or is damaged: where you trust it, load it in Python and save the network's "
              "state_dict() alone")


def load(network, path, rename):
    """Fill a network from a file, names changed by `rename` (function of a dict): all weights found, none left over."""
    content = read(path)
    needed = [name for name in network.state_dict() if not name.endswith(COUNTERS)]
    fitting, nearest = [], None
    for where, state in candidates(content, len(needed)):
        state = rename(state)
        missing, unexpected = set(needed) - set(state), set(state) - set(network.state_dict())
        if not missing and not unexpected:
            fitting.append((where, state))
        elif nearest is None or len(missing) + len(unexpected) < len(nearest[0]) + len(nearest[1]):
            nearest = missing, unexpected
    if not fitting:
        raise ValueError(f"{path} does not fit the encoder: {counted('missing', nearest[0] if nearest else needed)}, "
                         f"{counted('unexpected', nearest[1] if nearest else ())}")
    if len(fitting) > 1:
        fitting = [one for one in fitting if PREFERRED in one[0]] or fitting
    if len(fitting) > 1:
        raise ValueError(f"{path} holds {len(fitting)} sets of weights that fit "
                         f"({'; '.join(one[0] for one in fitting)}): "
                         "save the one that is meant by itself")
    (where, state), = fitting
    if where:
        logging.info("weights of %s are those under %s", path.name, where)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the encoder: {' '.join(str(error).split())[:300]}") from None


def counted(what, names):
    """How many names, and the first two."""
    return f"{len(names)} {what}" + (f" ({', '.join(sorted(names)[:2])}{', ...' if len(names) > 2 else ''})" if names
                                     else "")


def candidates(content, n_needed):
    """What could be the encoder's state dict: (where it lies, names without prefix to tensors), whole files first."""
    for place, tensors in dicts_of_tensors(content, ""):
        prefixes = {""}
        for name in tensors:
            parts = name.split(".")
            prefixes |= {".".join(parts[:depth]) + "." for depth in range(1, min(MAX_DEPTH, len(parts) - 1) + 1)}
        for prefix in sorted(prefixes, key=len):
            state = {name[len(prefix):]: value for name, value in tensors.items() if name.startswith(prefix)}
            if len(state) >= n_needed or not place and not prefix:
                yield " ".join(filter(None, (place, prefix))), state


def dicts_of_tensors(content, place, depth=0):
    """Every dict in nested dicts that has tensors: (its keys, names to tensors)."""
    import torch
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if tensors or not depth:
        yield place, tensors
    for key, value in content.items():
        if isinstance(value, Mapping) and depth < MAX_DEPTH:
            yield from dicts_of_tensors(value, f"{place}{{{key}}}", depth + 1)


def read(path):
    """The content of a torch or safetensors file (dict); ValueError says what else the file is, and what to do."""
    with open(path, "rb") as file:
        start = file.read(64).lower()
    if not start:
        raise ValueError(f"{path} is not a state dict that loads safely: it is empty (0 bytes): download it again")
    for magic, what in FOREIGN:
        if start.startswith(magic):
            raise ValueError(f"{path} is not a state dict that loads safely: {what}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file
            return load_file(path)
        import torch
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:   # what torch advises then (weights_only=False) runs whatever the file holds
        raise ValueError(f"{path} is not a state dict that loads safely: {why_not(path)}") from None
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} is not a state dict that loads safely: it holds a {type(content).__name__}: save the "
                         "network's state_dict()")
    return content


def why_not(path):
    """Why torch does not load a file, in words."""
    if not zipfile.is_zipfile(path):
        return ("it is damaged, cut off, or no file of torch or safetensors: download it again"
                if path.suffix == ".safetensors" or not is_pickle(path) else HOLDS_MORE)
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("constants.pkl") for name in archive.namelist()):
            return "it is TorchScript: load it with torch.jit.load where you trust it, and save its state_dict()"
    return HOLDS_MORE


def is_pickle(path):
    """Whether a file begins like torch's older format."""
    with open(path, "rb") as file:
        return file.read(1) == b"\x80"
