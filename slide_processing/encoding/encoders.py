"""The table of tile encoders: what each takes, what it gives, where its weights come from, under which terms.

A new encoder is one more row of ENCODERS, or a file of the user's own (own_encoder). CONCH is not here: its pooling
lives in its authors' package.

What a tile is (side in px, um per pixel, stain normalisation) is that of the published pipeline for ResNet-50 and
CTransPath, which its authors' siblings use so, and for the others that of their model cards, none of which names a
stain normalisation.
"""
from collections.abc import Callable
from dataclasses import dataclass

from encoding import own_encoder, timm_encoders
from tiles.tiling import PUBLISHED, TileSettings

CARD = TileSettings(tile_px=224, magnification=20, normalisation="none")     # 0.5 um per pixel, pixels as they are
CARD_256 = TileSettings(tile_px=256, magnification=20, normalisation="none")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class EncoderRow:
    """One encoder. `build()` gives the network without trained weights: (n, 3, input_px, input_px) -> (n, n_features).

    `rename` turns the names in the published state dict into those of the network; `version` goes up when a row
    starts to give other numbers.
    """

    name: str
    n_features: int
    build: Callable
    weights_from: str
    licence: str
    citation: str
    version: int = 1
    input_px: int = 224
    resize_px: int = 224                # side after resizing; what exceeds input_px is cut off around the centre
    interpolation: str = "bilinear"
    mean: tuple = IMAGENET_MEAN
    std: tuple = IMAGENET_STD
    rename: Callable = dict
    tiles: TileSettings = PUBLISHED     # what it was trained on, as its model card states it


def build_resnet50():
    """ResNet-50, global average pooling instead of the classifier."""
    import torch
    import torchvision

    network = torchvision.models.resnet50(weights=None, zero_init_residual=True)
    network.fc = torch.nn.Identity()
    return network


def without_classifier(state):
    """State dict of a torchvision ResNet without its ImageNet classes."""
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


ENCODERS = {row.name: row for row in [
    EncoderRow("resnet50", 2048, build_resnet50, "torchvision, ResNet50_Weights.IMAGENET1K_V2", "BSD-3-Clause",
               "He et al., CVPR 2016, doi 10.1109/CVPR.2016.90", rename=without_classifier),
    EncoderRow("ctranspath", 768, timm_encoders.build_ctranspath, "the authors' page of TransPath, ctranspath.pth",
               "GPL-3.0", "Wang X et al., Medical Image Analysis 2022, doi 10.1016/j.media.2022.102559",
               rename=timm_encoders.rename_ctranspath),
    EncoderRow("uni", 1024, timm_encoders.build_uni, "Hugging Face, MahmoodLab/UNI (on request)",
               "CC-BY-NC-ND-4.0", "Chen et al., Nature Medicine 2024, doi 10.1038/s41591-024-02857-3", tiles=CARD_256),
    EncoderRow("uni2-h", 1536, timm_encoders.build_uni2_h, "Hugging Face, MahmoodLab/UNI2-h (on request)",
               "CC-BY-NC-ND-4.0", "Chen et al., Nature Medicine 2024, doi 10.1038/s41591-024-02857-3", tiles=CARD_256),
    EncoderRow("virchow", 2560, timm_encoders.build_virchow, "Hugging Face, paige-ai/Virchow (on request)",
               "see its model card", "Vorontsov et al. 2023, arXiv 2309.07778", interpolation="bicubic", tiles=CARD),
    EncoderRow("virchow2", 2560, timm_encoders.build_virchow2, "Hugging Face, paige-ai/Virchow2 (on request)",
               "CC-BY-NC-ND-4.0", "Zimmermann et al. 2024, arXiv 2408.00738", interpolation="bicubic",
               tiles=CARD),
    EncoderRow("h-optimus-0", 1536, timm_encoders.build_h_optimus_0, "Hugging Face, bioptimus/H-optimus-0",
               "Apache-2.0", "Saillard et al. 2024, H-optimus-0", interpolation="bicubic", tiles=CARD,
               mean=(0.707223, 0.578729, 0.703617), std=(0.211883, 0.230117, 0.177517)),
    EncoderRow("prov-gigapath", 1536, timm_encoders.build_prov_gigapath,
               "Hugging Face, prov-gigapath/prov-gigapath (on request)", "research only, see its model card",
               "Xu et al., Nature 2024, doi 10.1038/s41586-024-07441-w", resize_px=256, interpolation="bicubic",
               tiles=CARD_256),
    EncoderRow("phikon-v2", 1024, timm_encoders.build_phikon_v2, "Hugging Face, owkin/phikon-v2",
               "research only, see its model card", "Filiot et al. 2024, arXiv 2409.09173", interpolation="bicubic",
               rename=timm_encoders.rename_phikon_v2, tiles=CARD),
]}


def row_of(name):
    """The row of an encoder: of the table, or made of a file of the user's own, whose tiles are the published ones."""
    if not own_encoder.is_own(name):
        return ENCODERS[name]
    own = own_encoder.load(name)
    return EncoderRow(own_encoder.name_in_records(name), own.n_features, lambda: own.module, "your own file", "", "",
                      input_px=own.input_px, resize_px=own.input_px, mean=own.mean, std=own.std)
