"""Pathology encoders that are built with timm (requirements-encoders.txt), with the settings of their model cards."""
import re

LAYER_SCALE = 1e-5      # initial value; its presence makes timm build the layers, its size is overwritten by weights
N_VIRCHOW2_REGISTERS = 4


def timm():
    """The module timm, which is optional."""
    try:
        import timm
    except ImportError:
        raise ValueError("this encoder needs timm: pip install -r slide_processing/requirements-encoders.txt") from None
    return timm


def build_uni():
    """ViT-L/16."""
    return timm().create_model("vit_large_patch16_224", init_values=LAYER_SCALE, num_classes=0)


def build_h_optimus_0():
    """ViT-g/14 with four registers."""
    return timm().create_model("vit_giant_patch14_reg4_dinov2", img_size=224, init_values=LAYER_SCALE, num_classes=0)


def build_prov_gigapath():
    """ViT-g with patches of 16 px."""
    return timm().create_model("vit_giant_patch14_dinov2", img_size=224, patch_size=16, init_values=LAYER_SCALE,
                               num_classes=0)


def build_phikon_v2():
    """ViT-L/16 trained by DINOv2."""
    return timm().create_model("vit_large_patch16_224", init_values=LAYER_SCALE, num_classes=0)


def build_uni2_h():
    """ViT-H/14 of 24 blocks with eight registers, whose places are not embedded."""
    import torch

    library = timm()
    return library.create_model(
        "vit_giant_patch14_224", depth=24, num_heads=24, embed_dim=1536, mlp_ratio=2.66667 * 2, init_values=LAYER_SCALE,
        num_classes=0, no_embed_class=True, reg_tokens=8, mlp_layer=library.layers.SwiGLUPacked,
        act_layer=torch.nn.SiLU)


def build_virchow():
    """As Virchow2, without registers."""
    return build_virchow2(n_registers=0)


def build_virchow2(n_registers=N_VIRCHOW2_REGISTERS):
    """ViT-H/14 whose feature is the class token beside the mean of the patch tokens."""
    import torch

    library = timm()
    network = library.create_model(
        "vit_huge_patch14_224", init_values=LAYER_SCALE, num_classes=0, global_pool="", mlp_ratio=5.3375,
        reg_tokens=n_registers, mlp_layer=library.layers.SwiGLUPacked, act_layer=torch.nn.SiLU)

    def class_and_mean(module, inputs, tokens):     # (n, 1 + registers + patches, 1280)
        return torch.cat([tokens[:, 0], tokens[:, 1 + n_registers:].mean(dim=1)], dim=1)

    network.register_forward_hook(class_and_mean)
    return network


def build_ctranspath():
    """Swin-T whose patches are embedded by three convolutions."""
    from torch import nn

    class ConvStem(nn.Module):
        """(n, 3, 224, 224) -> (n, 56, 56, 96)."""

        def __init__(self, img_size, patch_size, in_chans, embed_dim, norm_layer, **_):
            super().__init__()
            self.grid_size = tuple(side // patch_size for side in img_size)
            width = embed_dim // 8
            self.proj = nn.Sequential(
                nn.Conv2d(in_chans, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(),
                nn.Conv2d(2 * width, embed_dim, 1))
            self.norm = norm_layer(embed_dim)

        def forward(self, x):
            return self.norm(self.proj(x).permute(0, 2, 3, 1))

    return timm().create_model("swin_tiny_patch4_window7_224", embed_layer=ConvStem, num_classes=0)


def rename_ctranspath(state):
    """CTransPath was saved by an early timm: drop its constant buffers, and count each downsampling to the stage
    that it opens instead of the one that it closes."""
    kept = {name: value for name, value in state.items()
            if not name.endswith(("relative_position_index", "attn_mask"))}
    if not any(name.startswith("layers.0.downsample") for name in kept):
        return kept
    return {re.sub(r"^layers\.(\d)\.down", lambda match: f"layers.{int(match[1]) + 1}.down", name): value
            for name, value in kept.items()}


PHIKON_NAMES = [    # (pattern in transformers' Dinov2Model, name in timm)
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
]


def rename_phikon_v2(state):
    """Phikon-v2 was saved by transformers: other names, and query, key and value apart."""
    import torch

    renamed = {}
    for name, value in state.items():
        for pattern, replacement in PHIKON_NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    renamed.pop("embeddings.mask_token", None)
    for name in [name for name in renamed if ".attention.attention.query." in name]:
        parts = [renamed.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        renamed[name.replace(".attention.attention.query.", ".attn.qkv.")] = torch.cat(parts)
    return renamed
