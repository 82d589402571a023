"""Macenko stain normalisation of a tile (Macenko et al. 2009) with the targets of Wang et al. 2026.

The published code solves a non-negative lasso for each pixel; with two stains it has a closed form
(`concentrations`). Work is in planes of float32, one value a pixel, so that every step is a pass of a vector unit.
"""
import cv2
import numpy as np

BRIGHTNESS_PERCENTILE = 95
MIN_OD = 0.15               # optical density that a pixel needs in some channel to tell the stains' colours
ANGLE_PERCENTILES = (1, 99)
LASSO_LAMBDA = 0.01
MAX_CONCENTRATION_PERCENTILE = 99
TARGET_STAINS = np.array([[0.5626, 0.7201, 0.4062],    # haematoxylin: OD in red, green, blue
                          [0.2159, 0.8012, 0.5581]])   # eosin
TARGET_CONCENTRATIONS = np.array([1.9705, 1.0308])     # 99th percentiles of the two
MIN_STAINED_PX = 3          # fewer span no plane
MIN_STAIN_ANGLE = 1e-3      # radians; stains closer than this are one stain


class Unstained(ValueError):
    """The tile's pixels do not tell two stains apart."""


def normalise(rgb):
    """Bring a tile to the target stains.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)

    Returns
    -------
    ndarray of uint8, same shape
        A tile that shows no two stains (blank, black, of one colour) comes back with corrected brightness only.
    """
    planes = cv2.split(rgb)
    counts = sum(cv2.calcHist([plane], [0], None, [256], [0, 256]).ravel().astype(np.int64) for plane in planes)
    brightness = brightness_table(counts)
    od_table = od_of(brightness)
    od = np.stack([cv2.LUT(plane, od_table).ravel() for plane in planes])
    try:
        stains = stain_matrix(od)
    except Unstained:
        return brightness[rgb]
    c = concentrations(od, stains)
    c99 = [percentile(row, MAX_CONCENTRATION_PERCENTILE) for row in c]
    if min(c99) <= 0:
        return brightness[rgb]
    rebuilt = times(rebuild_matrix(c99), c)
    np.exp(rebuilt, out=rebuilt)
    rebuilt *= 255
    return cv2.merge([plane.reshape(rgb.shape[:2]) for plane in rebuilt.astype(np.uint8)])


def brightness_table(counts):
    """Corrected brightness of each grey level, uint8 (256,): I * 255 / P95, clipped, truncated, zeros become 1.

    `counts` are the numbers of values of each grey level in the tile, all channels together.
    """
    p95 = percentile_of_counts(counts, BRIGHTNESS_PERCENTILE)
    levels = np.arange(256) * 255.0 / p95 if p95 > 0 else np.arange(256)
    return np.maximum(np.clip(levels, 0, 255).astype(np.uint8), 1)


def od_of(brightness):
    """Optical density of brightness 1..255, float32."""
    return (-np.log(brightness / 255.0)).astype(np.float32)


def rebuild_matrix(c99):
    """Matrix (3, 2) that turns concentrations with these 99th percentiles into -OD of the target stains."""
    return (-TARGET_STAINS * (TARGET_CONCENTRATIONS / c99)[:, None]).T.astype(np.float32)


def percentile_of_counts(counts, q):
    """np.percentile of whole numbers of which `counts[i]` are equal to i."""
    upto = np.cumsum(counts)
    position = (upto[-1] - 1) * q / 100
    below, above = np.searchsorted(upto, [np.floor(position), np.ceil(position)], side="right")
    return below + (above - below) * (position % 1)


def percentile(values, q):
    """np.percentile of one row of float32, 0 <= q < 100, by partial sorting, in float64 between neighbours."""
    position = (values.size - 1) * q / 100
    k = int(position)
    ordered = np.partition(values, k)
    below, above = float(ordered[k]), float(ordered[k + 1:].min(initial=np.inf))
    return below + (above - below) * (position - k) if position > k else below


def stain_matrix(od):
    """Unit vectors of the two stains, haematoxylin first.

    Parameters
    ----------
    od : ndarray of float32, shape (3, n_px)
        Optical density of red, green, blue.

    Returns
    -------
    ndarray of float64, shape (2, 3)

    Raises
    ------
    Unstained
        Too few stained pixels, or all of one colour.
    """
    stained = np.compress((od > MIN_OD).any(axis=0), od, axis=1)
    if stained.shape[1] < MIN_STAINED_PX:
        raise Unstained
    plane = stain_plane(scatter(stained))
    x, y = times(plane.T, stained)
    angles = np.arctan2(y, x)
    return stains_between(plane, *(percentile(angles, q) for q in ANGLE_PERCENTILES))


def times(matrix, planes):
    """matrix (m, k) times planes (k, n_px), float32, by numpy's own loops: BLAS would start threads of its own
    below each of the threads that work on tiles, and they would wait for each other."""
    return np.einsum("ij,jk->ik", matrix.astype(np.float32), planes)


def scatter(points):
    """Covariance x (n - 1), which has the same eigenvectors, of points (3, n).

    In float64: where a tile has one stain only, the second eigenvector is that of quantisation noise.
    """
    centred = points.astype(np.float64)
    centred -= centred.mean(axis=1, keepdims=True)
    return np.einsum("ik,jk->ij", centred, centred)


def stain_plane(scatter_matrix):
    """The two leading eigenvectors of a symmetric (3, 3) matrix as columns (3, 2), first components not negative."""
    _, vectors = np.linalg.eigh(scatter_matrix)
    plane = vectors[:, [2, 1]]
    return plane * np.where(plane[0] < 0, -1, 1)


def stains_between(plane, low, high):
    """Stains at two angles (radians) in the plane, unit rows (2, 3), haematoxylin (more red) first."""
    if high - low < MIN_STAIN_ANGLE:
        raise Unstained
    stains = (plane @ np.array([[np.cos(low), np.cos(high)], [np.sin(low), np.sin(high)]])).T
    if stains[0, 0] <= stains[1, 0]:
        stains = stains[::-1]
    return stains / np.linalg.norm(stains, axis=1, keepdims=True)


def concentrations(od, stains):
    """Minimise 0.5 ||od - stains^T c||^2 + 0.01 (c1 + c2) with c >= 0 for each pixel.

    With b = stains od - 0.01 and g the product of the two unit vectors, the free minimum is
    c1 = (b1 - g b2) / (1 - g^2). If it lies at c2 < 0, which for g >= 0 is the same as c1 > b1, the minimum on
    c >= 0 is (max(b1, 0), 0); so c1 = max(0, min(c1, b1)), and the same for c2. For g < 0 the sign turns.

    Parameters
    ----------
    od : ndarray of float32, shape (3, n_px)
    stains : ndarray, shape (2, 3), rows of unit length

    Returns
    -------
    ndarray of float32, shape (2, n_px)
    """
    g = stains[0] @ stains[1]
    b = times(stains, od) - np.float32(LASSO_LAMBDA)
    free = times(np.linalg.inv([[1, g], [g, 1]]) @ stains, od) - np.float32(LASSO_LAMBDA / (1 + g))
    inner = np.minimum if g >= 0 else np.maximum
    return np.maximum(inner(free, b, out=free), 0, out=free)
