"""What a tile looks like, in four cheap numbers: told, not used. The published rule keeps blurred and pen-marked tiles.

The limits were set on the two real slides of the tests and on what was done to them: sharp tiles have a sharpness of
200 to 1,900, blurred by a Gaussian of 2 px one of 9 to 28; the share of H&E hues falls from 1 to 0 where a slide is
coloured as by DAB; pen strokes over a fifth of a tile give a share of pen of about 0.2.
"""
import cv2
import numpy as np

MEASURES = ("sharpness", "he_share", "pen_share", "glass_share")    # columns
BLURRED = 25.           # sharpness (variance of the Laplacian, grey levels squared) below which a tile is it
MARKED = 0.05           # share of pen above which a tile is it
DROPS = ("blurred", "pen")
GLASS_LEVEL = 215       # the darkest colour of a pixel of glass
GREY = 3                # levels between the mean colours of a tile off its glass, below which it has no colour


def measure(rgb, thumbnail):
    """The MEASURES of a tile as scanned and its thumbnail, both uint8 RGB; tuple of float.

    Haematoxylin and eosin absorb green most, so that of a pixel of H&E green is the weakest colour; but nothing of a
    tile that is grey throughout is H&E.
    """
    laplacian = cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_16S)
    sharpness = cv2.meanStdDev(laplacian)[1][0, 0] ** 2
    r, g, b = thumbnail.reshape(-1, 3).astype(np.int16).T
    glass = thumbnail.reshape(-1, 3).min(axis=1) > GLASS_LEVEL
    stained = thumbnail.reshape(-1, 3)[~glass]
    is_grey = len(stained) > 0 and np.ptp(stained.mean(axis=0)) < GREY
    he = (g <= r + 5) & (g <= b + 5) & ~glass & ~is_grey
    return sharpness, he.sum() / max(len(stained), 1), is_pen(r, g, b).mean(), glass.mean()


def is_pen(r, g, b):
    """Which pixels have the colours of pens: blue, green, black, red."""
    return ((g - r > 10) & (b - r > 40)) | ((g - r > 25) & (g - b > 10)) | (np.maximum(np.maximum(r, g), b) < 60) | (
        (r - g > 100) & (r - b > 80))


def is_dropped(measures, drop):
    """Whether a tile is left out by --drop (names of DROPS)."""
    sharpness, _, pen, _ = measures
    return "blurred" in drop and sharpness < BLURRED or "pen" in drop and pen > MARKED


def of_slide(measures):
    """What is told of a slide (dict) from the measures (n_tiles, 4) of its tissue tiles; NaN without any."""
    if not len(measures):
        return dict.fromkeys(("he_share", "blurred_share", "pen_share"), float("nan"))
    sharpness, he, pen, _ = measures.T
    return {"he_share": float(np.median(he)), "blurred_share": float((sharpness < BLURRED).mean()),
            "pen_share": float((pen > MARKED).mean())}
