"""Where things lie in a piece of tissue: its outline, fibres, room for cells, rings of cells around a lumen.

Lengths are pixels at 20x (0.5 um). Landscapes are drawn COARSE times coarser than the slide.
"""
import math

import cv2
import numpy as np

from demo_cohort.draw_cells import noise

COARSE = 8
GRID_PX = 12  # step of the grid on which single cells find room: a lymphocyte's diameter


def landscape(rng, shape, hill_px):
    """Random hills of about `hill_px`, for a slide of `shape` (height, width); coarse, mean 0, sd 1."""
    return noise(rng, (shape[0] // COARSE, shape[1] // COARSE), hill_px / COARSE / 2)


def enlarge(field, shape):
    """A field at another resolution."""
    return cv2.resize(field, shape[::-1], interpolation=cv2.INTER_CUBIC)


def grain(rng, shape, size):
    """Fine texture of a whole slide (height, width), mean 0, sd 1: one block of noise laid side by side."""
    block = noise(rng, (512, 512), size)
    return cv2.repeat(block, -(-shape[0] // 512), -(-shape[1] // 512))[:shape[0], :shape[1]]


def outline(rng, shape, share, towards):
    """Positive where tissue lies (coarse): on `share` of the slide, in direction `towards`, with an uneven border."""
    y, x = np.mgrid[-1:1:shape[0] // COARSE * 1j, -1:1:shape[1] // COARSE * 1j]
    field = x * math.cos(towards) + y * math.sin(towards) + .06 * landscape(rng, shape, 500)
    field += .02 * landscape(rng, shape, 100)
    return (field - np.quantile(field, 1 - share)).astype(np.float32)


def fibres(rng, shape, waviness):
    """Bundles of collagen: their texture, sd 1, at half the resolution, and their direction at COARSE."""
    half = (shape[0] // 2, shape[1] // 2)
    bundles = noise(rng, (1024, 1024), (22, 1.)) + .8 * noise(rng, (1024, 1024), (45, 3.5))
    bend = 90 * enlarge(landscape(rng, shape, 700), half) + 25 * enlarge(landscape(rng, shape, 220), half)
    phase = 3 * enlarge(landscape(rng, shape, 150), half)
    y, x = np.mgrid[:half[0], :half[1]].astype(np.float32)
    turn = rng.uniform(0, math.pi)
    along = x * math.cos(turn) + y * math.sin(turn)
    across = y * math.cos(turn) - x * math.sin(turn) + bend
    wavy = across + waviness * np.sin(along / 7 + phase)
    texture = cv2.remap(bundles, along % 1023, wavy % 1023, cv2.INTER_LINEAR)
    down, right = np.gradient(cv2.resize(across, None, fx=2 / COARSE, fy=2 / COARSE))
    return texture / texture.std(), np.arctan2(-right, down)


def find_room(rng, n, weight):
    """`n` places (n, 2) with probability in proportion to `weight` on the grid of GRID_PX, which they then fill."""
    n = min(n, int((weight > 0).sum()))
    with np.errstate(divide="ignore"):
        keys = np.log(weight) + rng.gumbel(size=weight.shape)
    chosen = np.unravel_index(np.argsort(keys, axis=None)[::-1][:n], weight.shape)
    row, column = chosen
    xy = np.column_stack([column + .5 * (row % 2), row]) + rng.normal(.5, .25, (n, 2))
    return xy * GRID_PX, chosen


def honeycomb(rng, shape, spacing):
    """Crowded places (n, 2) over the whole slide, `spacing` apart, each a little off its place."""
    rows, columns = int(shape[0] / (spacing * .866)), int(shape[1] / spacing)
    y, x = np.mgrid[:rows, :columns].reshape(2, -1).astype(float)
    xy = np.column_stack([x + .5 * (y % 2), .866 * y]) * spacing
    return xy + rng.normal(0, .17 * spacing, xy.shape)


def place_discs(rng, n, radius, free):
    """Centres (n, 2) of discs of `radius` in the mask `free` (coarse, uint8), from which they are taken."""
    centres = []
    for edge in (0, -1):  # of the slide
        free[edge], free[:, edge] = 0, 0
    for _ in range(n):
        depth = cv2.distanceTransform(free, cv2.DIST_L2, 3)
        y, x = np.nonzero(depth > min(radius / COARSE, .9 * depth.max()))
        if not len(y):
            break
        i = rng.integers(len(y))
        centres.append(((x[i] + .5) * COARSE, (y[i] + .5) * COARSE))
        cv2.circle(free, (int(x[i]), int(y[i])), int(radius / COARSE) + 1, 0, -1)
    return np.array(centres).reshape(-1, 2)


def ring(rng, centre, radius, ratio, turn, n):
    """`n` places (n, 2) along an ellipse, and the direction (n,) of the ellipse there."""
    t = np.arange(n) / max(n, 1) * 2 * np.pi + rng.uniform(0, 6.3) + rng.normal(0, .8 / max(n, 1), n)
    long, short = radius / ratio ** .5, radius * ratio ** .5
    xy = np.column_stack([np.cos(t) * long, np.sin(t) * short])
    tangent = np.arctan2(np.cos(t) * short, -np.sin(t) * long)
    cos, sin = np.cos(turn), np.sin(turn)
    return centre + xy @ np.array([[cos, sin], [-sin, cos]]), (tangent + turn) % np.pi


def elliptic_distance(centre, radius, ratio, turn, reach):
    """Distance to an ellipse (negative inside) around its centre, and the window (slices) of the slide it is for."""
    x0, y0 = (max(int(c - reach), 0) for c in centre)
    y, x = np.mgrid[y0:y0 + int(2 * reach), x0:x0 + int(2 * reach)].astype(np.float32)
    x, y = x - centre[0], y - centre[1]
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return np.hypot(along * ratio ** .5, across / ratio ** .5) - radius, np.s_[y0:y0 + len(y), x0:x0 + len(y)]
