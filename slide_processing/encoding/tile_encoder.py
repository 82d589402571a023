"""From tissue tiles to features: an encoder with its weights, precision and device, ready to run."""
import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import resnet
from torchvision.transforms import functional

from encoding import encoder_weights, encoders, own_encoder
from tiles import stain, stain_batch
from tiles.tiling import PUBLISHED, THUMBNAIL_PX, shrink

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CPU_FLAGS = {"bf16": {"avx512_bf16", "amx_bf16", "bf16"},      # of /proc/cpuinfo; without any, torch emulates
             "fp16": {"avx512_fp16", "amx_fp16", "asimdhp"}}
BATCH_TILES = {"cpu": 8, "cuda": 64}


class TileEncoder:
    """Stain normalisation, resizing and network: features of tissue tiles.

    Tiles are handed over in two steps. `prepare` is what threads do tile by tile; `encode` takes batches. On the CPU
    tiles are normalised by the former, on a GPU, all of a batch at once, by the latter. `settings` is what decides
    the numbers, for the attributes of a feature file.
    """

    def __init__(self, name, weights, seed, precision, device, normalisation=PUBLISHED.normalisation):
        torch.set_num_threads(1)    # tiles, not the loops inside a convolution, are spread over the CPUs
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.row = encoders.row_of(name)
        self.device = torch.device(device)
        self.is_normalised = normalisation != "none"
        self.batch_tiles = BATCH_TILES[self.device.type]
        self.dtype = PRECISIONS[precision]
        if slow := slow_precision(self.device, precision):
            logging.warning(slow)
        self.settings = encoder_weights.settings(name, weights, seed, precision)
        if own_encoder.is_own(name):    # whose modules may run in another order than they are registered in
            network = self.row.build()
        else:
            network, self.settings["weights_sha256"] = encoder_weights.load(self.row, weights, seed)
            fold_batch_norm(network)
            leave_out_silent_branches(network)
        self.network = network.to(self.device, self.dtype, memory_format=torch.channels_last)
        self.mean, self.std = (255 * torch.tensor(v, device=self.device).view(3, 1, 1)
                               for v in (self.row.mean, self.row.std))

    def prepare(self, rgb):
        """What `encode` wants of a tile, uint8 (tile_px, tile_px, 3)."""
        if self.device.type != "cpu":
            return rgb
        normalised = stain.normalise(rgb) if self.is_normalised else rgb
        return shrink(normalised), self.picture(normalised)

    def picture(self, rgb):
        """A tile at the encoder's input size, as torchvision resizes a PIL picture."""
        side, cut = self.row.resize_px, (self.row.resize_px - self.row.input_px) // 2
        resized = Image.fromarray(rgb).resize((side, side), Image.Resampling[self.row.interpolation.upper()])
        return np.asarray(resized)[cut:side - cut, cut:side - cut]

    @torch.inference_mode()
    def encode(self, prepared):
        """Features and thumbnails of a list of prepared tiles, n = 0 allowed.

        Returns
        -------
        features : ndarray of float32, shape (n, n_features)
        thumbnails : ndarray of uint8, shape (n, THUMBNAIL_PX, THUMBNAIL_PX, 3)
            Of the normalised tiles.
        """
        if not prepared:
            side = (THUMBNAIL_PX, THUMBNAIL_PX, 3)
            return np.empty((0, self.row.n_features), np.float32), np.empty((0, *side), np.uint8)
        if self.device.type == "cpu":
            thumbnails, pictures = map(np.stack, zip(*prepared))
            pictures = torch.from_numpy(pictures).permute(0, 3, 1, 2)     # channels last in memory
        else:
            tiles = torch.from_numpy(np.stack(prepared)).to(self.device)
            normalised = stain_batch.normalise(tiles) if self.is_normalised else tiles
            thumbnails, pictures = self.pictures_on_gpu(normalised.permute(0, 3, 1, 2))
        batch = ((pictures.float() - self.mean) / self.std).to(self.dtype)
        return self.network(batch).float().cpu().numpy(), thumbnails

    def pictures_on_gpu(self, normalised):
        """Thumbnails (ndarray) and pictures (tensor) of normalised tiles, tensor of uint8 (n, 3, tile_px, tile_px)."""
        thumbnails = torch.nn.functional.adaptive_avg_pool2d(normalised.float(), THUMBNAIL_PX).round().byte()
        mode = functional.InterpolationMode[self.row.interpolation.upper()]
        pictures = functional.resize(normalised, [self.row.resize_px] * 2, mode, antialias=True)
        return (thumbnails.permute(0, 2, 3, 1).contiguous().cpu().numpy(),
                functional.center_crop(pictures, [self.row.input_px] * 2))


def slow_precision(device, precision):
    """A line where the processor has no instructions for a precision, and so is slower with it; "" elsewhere."""
    flags, cpu_info = CPU_FLAGS.get(precision), Path("/proc/cpuinfo")
    if device.type != "cpu" or not flags or not cpu_info.is_file() or flags & set(cpu_info.read_text().split()):
        return ""
    return (f"this CPU has no instructions for {precision} ({' or '.join(sorted(flags))}), "
            "which is slower here than fp32: use "
            "--precision fp32; to halve features.h5 use --dtype float16 of collect_features.py")


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


def leave_out_silent_branches(module):
    """Leave out each residual branch of a folded ResNet that adds exactly 0 to its block; equal to the last bit.

    Training starts so (zero_init_residual, Goyal et al. 2017), and random weights stay so: then all 16 are left out.
    """
    for name, block in list(module.named_children()):
        if not isinstance(block, (resnet.BasicBlock, resnet.Bottleneck)):
            leave_out_silent_branches(block)
            continue
        last = block.conv3 if isinstance(block, resnet.Bottleneck) else block.conv2
        if not (last.weight.any() or last.bias.any()):
            setattr(module, name, torch.nn.Sequential(block.downsample or torch.nn.Identity(), block.relu))
