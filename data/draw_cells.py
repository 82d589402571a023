"""Small pictures ("stamps") of single cells, and how they are put on a slide.

All lengths are pixels at 20x (0.5 um). Pictures are concentrations of haematoxylin and eosin, not colours.
"""
from dataclasses import dataclass

import cv2
import numpy as np

STAMP_PX = 64
N_STAMPS = 96  # variants of one kind of cell, their long axes turned evenly through half a circle


@dataclass
class Look:
    """How one kind of cell looks."""
    radius: float             # of the nucleus: square root of the product of its half axes
    ratio: float = 1.         # short to long axis of the nucleus
    spread: float = .08       # sd of ln radius between cells
    rough: float = .03        # unevenness of the outline, share of the radius
    hematoxylin: float = 1.2  # of the nucleus
    clumps: float = .2        # contrast of the chromatin
    grain: float = 1.5        # size of its clumps
    rim: float = .15          # darker nuclear membrane
    nucleolus: float = 0.     # size of the nucleolus
    halo: float = 0.          # width of the cytoplasm around the nucleus
    shift: float = 0.         # distance of the nucleus from the middle of the cell
    cytoplasm: tuple = (.1, .4)  # haematoxylin and eosin
    foam: float = 0.          # vacuoles in the cytoplasm


def noise(rng, shape, grain):
    """Random texture (height, width) with clumps of `grain` pixels, mean 0, sd 1, seamless at the borders."""
    field = rng.standard_normal(shape, dtype=np.float32)
    pad = int(4 * np.max(grain)) + 1
    sigma_x, sigma_y = np.broadcast_to(grain, 2)
    field = cv2.copyMakeBorder(field, pad, pad, pad, pad, cv2.BORDER_WRAP)
    field = cv2.GaussianBlur(field, (0, 0), sigmaX=float(sigma_x), sigmaY=float(sigma_y))[pad:-pad, pad:-pad]
    return (field - field.mean()) / field.std()


def smoothstep(signed_distance, softness=1.):
    """1 well inside (negative distances), 0 well outside, a soft edge between."""
    return np.clip(.5 - signed_distance / (2 * softness), 0, 1)


def make_stamps(rng, look):
    """N_STAMPS cells of one kind.

    Returns
    -------
    keep : ndarray float32 (N_STAMPS, STAMP_PX, STAMP_PX, 1)
        Share of the background that shows through.
    stain : ndarray float32 (N_STAMPS, STAMP_PX, STAMP_PX, 2)
        Haematoxylin and eosin of the cell, times the share that it covers.
    """
    axis = np.arange(STAMP_PX, dtype=np.float32) - STAMP_PX / 2 + .5
    angle = (np.pi * np.arange(N_STAMPS) / N_STAMPS)[:, None, None].astype(np.float32)
    radius, shift_sign = (rng.lognormal(np.log(look.radius), look.spread, N_STAMPS),
                          rng.choice([-1, 1], N_STAMPS))
    radius = np.minimum(radius, .45 * STAMP_PX * np.sqrt(look.ratio)).astype(np.float32)[:, None, None]
    along = axis * np.cos(angle) + axis[:, None] * np.sin(angle)
    across = -axis * np.sin(angle) + axis[:, None] * np.cos(angle)
    along_nucleus = along - (look.shift * shift_sign).astype(np.float32)[:, None, None]
    stretch = np.float32(np.sqrt(look.ratio))
    polar = np.arctan2(across, along_nucleus)
    outline = sum(look.rough / m * rng.standard_normal((N_STAMPS, 1, 1)) *
                  np.cos(m * polar + rng.uniform(0, 6.3, (N_STAMPS, 1, 1))) for m in (2, 3, 4, 5))
    distance = np.hypot(along_nucleus * stretch, across / stretch) - radius * (1 + 2 * outline)
    cell = np.hypot(along * stretch, across / stretch) - radius - look.halo * stretch

    field = noise(rng, (256, 256), look.grain)
    corners = rng.integers(0, 256 - STAMP_PX, (N_STAMPS, 2))
    texture = np.stack([field[y:y + STAMP_PX, x:x + STAMP_PX] for y, x in corners])
    chromatin = look.hematoxylin * rng.lognormal(0, .12, (N_STAMPS, 1, 1)) * np.clip(
        1 + look.clumps * texture + look.rim * np.exp(-((distance + 1) / 1.3) ** 2), .15, 2)
    if look.nucleolus:
        spot = rng.uniform(-.35, .35, (N_STAMPS, 2, 1, 1)) * radius[:, None]
        chromatin += .9 * smoothstep(np.hypot(along_nucleus - spot[:, 0], across - spot[:, 1]) - look.nucleolus)

    nucleus = smoothstep(distance)
    body = smoothstep(cell, 1.5) * (look.halo > 0)
    vacuoles = np.clip(1 + look.foam * np.roll(texture, 7, 1), 0, 2)
    cytoplasm = np.stack([level * vacuoles for level in look.cytoplasm], -1)
    stain = body[..., None] * (1 - nucleus[..., None]) * cytoplasm
    stain += nucleus[..., None] * np.stack([chromatin, np.full_like(chromatin, .25)], -1)
    cover = np.maximum(nucleus, body)
    return (1 - cover[..., None]).astype(np.float32), stain.astype(np.float32)


def put(rng, canvas, xy, stamps, angle=None):
    """Put one cell at each of `xy` (n, 2) on canvas (height, width, 2), turned to `angle` (n,) where given.

    Cells that would reach over the border are left out."""
    keep, stain = stamps
    if angle is None:
        angle = rng.uniform(0, np.pi, len(xy))
    number = np.round(angle / np.pi * N_STAMPS).astype(int) + rng.integers(-3, 4, len(xy))
    corner = np.round(xy).astype(int) - STAMP_PX // 2
    inside = ((corner >= 0) & (corner + STAMP_PX <= (canvas.shape[1], canvas.shape[0]))).all(1)
    for (x, y), i in zip(corner[inside], number[inside] % N_STAMPS):
        patch = canvas[y:y + STAMP_PX, x:x + STAMP_PX]
        patch *= keep[i]
        patch += stain[i]
