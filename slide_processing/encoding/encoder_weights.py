"""Weights of an encoder: ImageNet's, seeded random ones, or a state dict from a file; and what identifies them."""
import hashlib
from pathlib import Path

from encoding import checkpoints, own_encoder
from encoding.encoders import ENCODERS
from slide_ex import checksums

IMAGENET_FILE = "resnet50-11ad3fa6.pth"     # torchvision's ResNet50_Weights.IMAGENET1K_V2
N_TEXTURES = 8                              # pictures that set the statistics of a random network
TEXTURE_SIGMAS_PX = (1, 3, 9, 27)


def settings(encoder, weights, seed, precision):
    """What decides the features, as attributes of a feature file, as far as it is known without loading weights.

    An encoder of the user's own is built, for nobody else knows whether its weights are the same.

    Parameters
    ----------
    encoder : str
        A name in the table of encoders, or file.py:function of the user's own.
    weights : str
        'imagenet', 'random' or the path of a state dict.
    seed : int
        Of random weights; for others -1 is recorded.
    precision : str
        'fp32', 'bf16' or 'fp16'.
    """
    if own_encoder.is_own(encoder):
        if weights != "imagenet":
            raise ValueError(f"--weights {weights}: an encoder of your own comes with its weights; leave --weights out")
        own = own_encoder.load(encoder)
        return {"encoder": own_encoder.name_in_records(encoder), "encoder_version": 1, "precision": precision,
                "weights_seed": -1, "weights": own_encoder.WEIGHTS, "weights_sha256": own.weights_sha256,
                "encoder_sha256": own.file_sha256}
    known = {"encoder": encoder, "encoder_version": ENCODERS[encoder].version, "precision": precision,
             "weights_seed": seed if weights == "random" else -1}
    if weights in ("imagenet", "random"):
        return known | {"weights": weights}
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"--weights {weights}: give imagenet, random or the path of a state dict")
    return known | {"weights": path.name, "weights_sha256": checksums.of_file(path)}


def load(row, weights, seed):
    """The network of an encoder (EncoderRow) with its weights, in evaluation mode, and their SHA-256.

    The SHA-256 is that of the file; of random weights it is that of the parameters as drawn.
    """
    if weights == "random":
        return random_network(row, seed)
    if weights == "imagenet":
        path = imagenet_file(row)
    else:
        path = Path(weights)
    network = row.build()
    checkpoints.load(network, path, row.rename)
    return network.eval(), checksums.of_file(path)


def imagenet_file(row):
    """Path of torchvision's ImageNet weights, downloaded at first use."""
    import torch
    import torchvision

    if row.name != "resnet50":
        raise ValueError(f"encoder {row.name} has no ImageNet weights here: get them from {row.weights_from} "
                         "and pass the path by --weights")
    url = torchvision.models.ResNet50_Weights.IMAGENET1K_V2.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / IMAGENET_FILE
    try:
        torch.hub.load_state_dict_from_url(url, progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise OSError(f"the ImageNet weights cannot be downloaded ({error}): get {url} on another machine "
                      f"and pass its path by --weights, or put it at {path}") from None
    return path


def random_network(row, seed):
    """A seeded network whose activations have unit scale, so that its features tell textures apart.

    With torchvision's initial statistics (mean 0, variance 1) the sums over 16 residual blocks explode and all
    features become one common factor. Here the parameters are drawn, then the batch normalisation statistics
    are set, once, to those of seeded textures. Networks without batch normalisation stay as they are drawn.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = row.build()
        digest = hashlib.sha256()
        for parameter in network.parameters():
            digest.update(parameter.detach().numpy().tobytes())
        pictures = textures(row.input_px, seed)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None    # the plain mean over what was seen
        norm.reset_running_stats()
    if norms:
        with torch.no_grad():
            network.to(memory_format=torch.channels_last).train()(pictures)
    return network.eval(), digest.hexdigest()


def textures(side_px, seed):
    """Seeded noise in stains' colours, of four grain sizes, standardised as encoders take it: (n, 3, side, side)."""
    import numpy as np
    import torch
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    pictures = np.empty((N_TEXTURES, 3, side_px, side_px), np.float32)
    for i, picture in enumerate(pictures):
        sigma = TEXTURE_SIGMAS_PX[i % len(TEXTURE_SIGMAS_PX)]
        amounts = gaussian_filter(rng.standard_normal((2, side_px, side_px)), (0, sigma, sigma))
        amounts = np.exp(0.7 * amounts / amounts.std() + rng.normal(-1, 0.5, (2, 1, 1)))
        stains = rng.dirichlet((3, 5, 3), size=2)           # optical density of red, green, blue
        picture[:] = (np.exp(-np.einsum("sc,syx->cyx", stains, amounts)) - 0.45) / 0.22
    return torch.from_numpy(pictures)
