"""The stain normalisation of `stain`, of many tiles at once in torch, for a GPU.

Everything that is one number or one matrix a tile is computed by `stain` itself, on the CPU.
"""
import numpy as np
import torch

from tiles import stain


def normalise(tiles):
    """Bring tiles to the target stains, within one grey level of `stain.normalise`.

    Parameters
    ----------
    tiles : tensor of uint8, shape (n, height, width, 3), on any device

    Returns
    -------
    tensor of uint8, same shape and device
    """
    n, device = len(tiles), tiles.device
    grey = tiles.reshape(n, -1).long()
    counts = torch.zeros(n, 256, dtype=torch.long, device=device).scatter_add_(1, grey, torch.ones_like(grey))
    brightness = np.stack([stain.brightness_table(row) for row in counts.cpu().numpy()])
    od = to(device, stain.od_of(brightness)).gather(1, grey).reshape(n, -1, 3).transpose(1, 2)    # (n, 3, n_px)
    stained = (od > stain.MIN_OD).any(dim=1)
    planes = [stain.stain_plane(matrix) for matrix in scatter(od, stained).cpu().numpy()]
    x, y = (to(device, np.stack(planes)).transpose(1, 2) @ od).unbind(dim=1)
    angles = torch.where(stained, torch.atan2(y, x), torch.inf)
    n_stained = stained.sum(dim=1)
    low, high = (percentile(angles, n_stained, q) for q in stain.ANGLE_PERCENTILES)
    stains, good = stains_of(planes, low, high, n_stained.tolist())
    c = concentrations(od, to(device, stains))
    n_px = torch.full_like(n_stained, od.shape[2])
    c99 = np.stack([percentile(c[:, i], n_px, stain.MAX_CONCENTRATION_PERCENTILE) for i in range(2)], axis=1)
    good &= (c99 > 0).all(axis=1)
    rebuild = np.stack([stain.rebuild_matrix(row) for row in np.where(good[:, None], c99, 1)])
    rebuilt = (255 * torch.exp(to(device, rebuild) @ c)).to(torch.uint8)
    only_brighter = torch.from_numpy(brightness).to(device).gather(1, grey).reshape(tiles.shape)
    good = torch.from_numpy(good).to(device).view(n, 1, 1, 1)
    return torch.where(good, rebuilt.transpose(1, 2).reshape(tiles.shape), only_brighter)


def to(device, array):
    """An array as float32 tensor."""
    return torch.from_numpy(np.asarray(array, np.float32)).to(device)


def scatter(od, stained):
    """Scatter matrices (n, 3, 3) in float64 of the stained pixels; zeros where there are none."""
    weight = stained[:, None].double()
    total = weight.sum(dim=2, keepdim=True).clamp(min=1)
    centred = (od - (od * weight).sum(dim=2, keepdim=True) / total) * weight
    return centred @ centred.transpose(1, 2)


def percentile(values, n_values, q):
    """np.percentile of the n_values smallest of each row of (n, n_px), float64 (n,); 0 for a row of none."""
    ordered = values.sort(dim=1).values
    position = (n_values - 1).clamp(min=0).double() * (q / 100)
    k = position.long()
    below, above = (ordered.gather(1, torch.minimum(i, (n_values - 1).clamp(min=0))[:, None])[:, 0].double()
                    for i in (k, k + 1))
    found = below + (above - below) * (position - k)
    return torch.where(n_values > 0, found, 0).cpu().numpy()


def stains_of(planes, low, high, n_stained):
    """Stains (n, 2, 3) of each tile, the targets where the tile tells no two apart; and where it does (n,)."""
    stains, good = [], []
    for plane, *angles, n_px in zip(planes, low, high, n_stained):
        try:
            if n_px < stain.MIN_STAINED_PX:
                raise stain.Unstained
            stains.append(stain.stains_between(plane, *angles))
            good.append(True)
        except stain.Unstained:
            stains.append(stain.TARGET_STAINS / np.linalg.norm(stain.TARGET_STAINS, axis=1, keepdims=True))
            good.append(False)
    return np.stack(stains), np.array(good)


def concentrations(od, stains):
    """As `stain.concentrations`, of od (n, 3, n_px) and stains (n, 2, 3)."""
    g = (stains[:, 0] * stains[:, 1]).sum(dim=1).double()
    inverse = torch.stack([torch.stack([1 / (1 - g**2), -g / (1 - g**2)], 1)] * 2, 1)
    inverse[:, 1] = inverse[:, 1].flip(1)
    b = stains @ od - stain.LASSO_LAMBDA
    free = (inverse @ stains.double()).float() @ od - (stain.LASSO_LAMBDA / (1 + g)).float().view(-1, 1, 1)
    inner = torch.where(g.view(-1, 1, 1) >= 0, torch.minimum(free, b), torch.maximum(free, b))
    return inner.clamp(min=0)
