"""Small pictures ("stamps") of single cells, and how they are put on a slide.

All lengths are pixels at 20x (0.5 um). Pictures are concentrations of haematoxylin and eosin, not colours.
"""
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import fft

N_STAMPS = 72  # variants of one kind of cell, their long axes turned evenly through half a circle
NUCLEAR_EOSIN = .25


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
    """Random texture (height, width) with clumps of `grain` pixels (or x, y), mean 0, sd 1, seamless at the borders.

    Filtered in frequencies, where wide clumps cost no more than fine ones."""
    sigma_x, sigma_y = np.broadcast_to(grain, 2)
    spectrum = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    spectrum *= gaussian_spectrum(shape[0], sigma_y)[:, None]
    spectrum *= gaussian_spectrum(shape[1], sigma_x)[:spectrum.shape[1]]
    field = fft.irfft2(spectrum, shape)
    mean, sd = field.mean(), field.std()
    field -= mean
    field /= sd
    return field


def gaussian_spectrum(n, sigma):
    """What a Gaussian filter, cut at 4 sigma, leaves of each frequency of n pixels; float32 (n,)."""
    reach = max(int(4 * sigma + .5), 1)
    kernel = cv2.getGaussianKernel(2 * reach + 1, sigma)[:, 0]
    around = np.bincount(np.arange(-reach, reach + 1) % n, kernel, n)
    return fft.fft(around).real.astype(np.float32)


def smoothstep(signed_distance, softness=1.):
    """1 well inside (negative distances), 0 well outside, a soft edge between."""
    return np.clip(.5 - signed_distance / (2 * softness), 0, 1)


def cover(canvas, share, hematoxylin, eosin):
    """Lay a layer with a `share` (height, width) of each pixel over a canvas; its stains are numbers or like share.

    Arrays with both stains are made first, because NumPy is slow where a last axis of two is repeated."""
    canvas *= cv2.merge([1 - share] * 2)
    canvas += cv2.merge([share * hematoxylin, share * eosin])


def make_stamps(rng, look):
    """N_STAMPS cells of one kind.

    Returns
    -------
    keep : ndarray float32 (N_STAMPS, side, side * 2)
        Share of the background that shows through, for both stains of each pixel.
    stain : ndarray float32 (N_STAMPS, side, side * 2)
        Haematoxylin and eosin of the cell, in turn, times the share that it covers.
    """
    def each(values):  # one number a stamp
        return values.astype(np.float32)[:, None, None]

    stretch = look.ratio ** .5
    radius = look.radius * each(np.exp(look.spread * np.clip(rng.standard_normal(N_STAMPS), -2.5, 2.5)))
    side = 2 * int(1.2 * radius.max() / stretch + look.halo + look.shift + 3)
    axis = np.arange(side, dtype=np.float32) - (side - 1) / 2
    angle = each(np.pi * np.arange(N_STAMPS) / N_STAMPS)
    along = axis * np.cos(angle) + axis[:, None] * np.sin(angle)
    across = axis[:, None] * np.cos(angle) - axis * np.sin(angle)
    from_nucleus = along - look.shift * each(rng.choice([-1, 1], N_STAMPS))
    polar = np.arctan2(across, from_nucleus)
    bumps = sum(each(rng.standard_normal(N_STAMPS)) / m * np.cos(m * polar + each(rng.uniform(0, 6.3, N_STAMPS)))
                for m in (2, 3, 4, 5))
    distance = np.hypot(from_nucleus * stretch, across / stretch) - radius * (1 + 2 * look.rough * bumps)
    nucleus = smoothstep(distance)
    body = smoothstep(np.hypot(along * stretch, across / stretch) - radius - look.halo * stretch, 1.5) * (look.halo > 0)

    field = noise(rng, (256, 256), look.grain)
    texture = np.stack([field[y:y + side, x:x + side] for y, x in rng.integers(0, 256 - side, (N_STAMPS, 2))])
    chromatin = look.hematoxylin * each(rng.lognormal(0, .12, N_STAMPS)) * np.clip(
        1 + look.clumps * texture + look.rim * np.exp(-((distance + 1) / 1.3) ** 2), .15, 2)
    if look.nucleolus:
        x, y = (each(rng.uniform(-.35, .35, N_STAMPS)) * radius for _ in range(2))
        chromatin += .9 * smoothstep(np.hypot(from_nucleus - x, across - y) - look.nucleolus)
    cytoplasm = body * (1 - nucleus) * np.clip(1 + look.foam * texture, 0, 2)
    stain = np.stack([nucleus * chromatin + cytoplasm * look.cytoplasm[0],
                      nucleus * NUCLEAR_EOSIN + cytoplasm * look.cytoplasm[1]], -1)
    keep = np.broadcast_to(1 - np.maximum(nucleus, body)[..., None], stain.shape)
    return keep.reshape(N_STAMPS, side, -1), stain.reshape(N_STAMPS, side, -1)


def put(rng, canvas, xy, stamps, angle=None):
    """Put one cell at each of `xy` (n, 2) on canvas (height, width, 2), turned to `angle` (n,) where given.

    Cells that would reach over the border are left out. Rows of a patch with both stains in turn are long, which
    makes this several times faster than a third axis of two."""
    keep, stain = stamps
    if angle is None:
        angle = rng.uniform(0, np.pi, len(xy))
    number = np.round(angle / np.pi * N_STAMPS).astype(int) + rng.integers(-3, 4, len(xy))
    side = keep.shape[1]
    corner = np.round(xy).astype(int) - side // 2
    inside = ((corner >= 0) & (corner + side <= (canvas.shape[1], canvas.shape[0]))).all(1)
    rows = canvas.reshape(len(canvas), -1)  # a view
    for (x, y), i in zip(corner[inside].tolist(), (number[inside] % N_STAMPS).tolist()):
        patch = rows[y:y + side, 2 * x:2 * (x + side)]
        patch *= keep[i]
        patch += stain[i]
