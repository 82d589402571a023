"""An encoder ready to run: network, weights, precision and device, and how a tile becomes its input."""
import numpy as np
import torch
from PIL import Image
from torch.nn.utils.fusion import fuse_conv_bn_eval

import encoder_weights
import encoders

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BATCH_TILES = {"cpu": 8, "cuda": 256}


class TileEncoder:
    """Features of tiles. `settings` is what decides the numbers, for the attributes of a feature file."""

    def __init__(self, name, weights, seed, precision, device):
        torch.set_num_threads(1)    # tiles, not the loops inside a convolution, are spread over the CPUs
        self.row = encoders.ENCODERS[name]
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.batch_tiles = BATCH_TILES[self.device.type]
        self.dtype = PRECISIONS[precision]
        network, sha256 = encoder_weights.load(self.row, weights, seed)
        fold_batch_norm(network)
        self.network = network.to(self.device, self.dtype, memory_format=torch.channels_last)
        self.mean, self.std = (255 * torch.tensor(v, device=self.device).view(3, 1, 1)
                               for v in (self.row.mean, self.row.std))
        self.settings = encoder_weights.settings(name, weights, seed, precision) | {"weights_sha256": sha256}

    def picture(self, rgb):
        """A tile, uint8 (height, width, 3), at the encoder's input size, as torchvision resizes a PIL picture."""
        side, cut = self.row.resize_px, (self.row.resize_px - self.row.input_px) // 2
        resized = Image.fromarray(rgb).resize((side, side), Image.Resampling[self.row.interpolation.upper()])
        return np.asarray(resized)[cut:side - cut, cut:side - cut]

    @torch.inference_mode()
    def encode(self, pictures):
        """Features, float32 (n, n_features), of n pictures (see `picture`); n = 0 is allowed."""
        if not pictures:
            return np.empty((0, self.row.n_features), np.float32)
        batch = torch.from_numpy(np.stack(pictures)).to(self.device).permute(0, 3, 1, 2)   # channels last
        batch = ((batch.float() - self.mean) / self.std).to(self.dtype)
        return self.network(batch).float().cpu().numpy()


def fold_batch_norm(module):
    """Fold each batch normalisation into the convolution registered just before it; equal up to rounding."""
    previous = None
    for name, child in list(module.named_children()):
        if isinstance(child, torch.nn.BatchNorm2d) and isinstance(module._modules.get(previous), torch.nn.Conv2d):
            setattr(module, previous, fuse_conv_bn_eval(module._modules[previous], child))
            setattr(module, name, torch.nn.Identity())
        else:
            fold_batch_norm(child)
        previous = name
