"""Which squares of a slide are tiles, and which tiles are tissue (Wang et al. 2026)."""
from dataclasses import dataclass

import cv2
import numpy as np

from slide_ex.project.mask_file import THUMBNAIL_PX

TILE_PX = 512               # side of a tile after resampling, pixels
MAGNIFICATION = 20          # objective power of the tiles, about 0.5 um per pixel
NORMALISATIONS = ("macenko", "none")
MIN_EDGE_MAGNITUDE = 15     # Sobel magnitude (0..255) below which a pixel counts as flat
MAX_FLAT_FRACTION = 0.5     # a tile with a larger share of flat pixels is glass


@dataclass(frozen=True)
class TileSettings:
    """What a tile is; the defaults are the published ones."""
    tile_px: int = TILE_PX
    magnification: float = MAGNIFICATION
    normalisation: str = NORMALISATIONS[0]
    drop: str = ""      # kinds of tissue tiles that are left out, separated by commas; the published rule keeps all
    mask_class: str = ""    # classes of the regions that are kept, separated by semicolons; "": all of a slide's mask


PUBLISHED = TileSettings()


@dataclass(frozen=True)
class Grid:
    """The whole tiles of a slide, numbered row by row, without overlap; incomplete border tiles are dropped."""
    n_rows: int
    n_columns: int
    level0_tile_px: int     # side of a tile, level-0 pixels

    def __len__(self):
        return self.n_rows * self.n_columns

    @property
    def corners(self):
        """Top-left corners x, y of all tiles, level-0 pixels; int32 (n_tiles, 2)."""
        y, x = np.divmod(np.arange(len(self), dtype=np.int32), max(self.n_columns, 1))
        return np.stack([x, y], axis=1) * np.int32(self.level0_tile_px)

    @property
    def centres(self):
        """x of the centres of each column and y of those of each row, level-0 pixels; float (n_columns,), (n_rows,)."""
        return tuple((np.arange(n) + 0.5) * self.level0_tile_px for n in (self.n_columns, self.n_rows))


def grid_of(width, height, level0_tile_px):
    """The Grid of an image of `width` x `height` level-0 pixels; without a tile where it is smaller than one."""
    return Grid(height // level0_tile_px, width // level0_tile_px, level0_tile_px)


def is_tissue(rgb):
    """Whether a tile, uint8 (height, width, 3), has texture: at most half of its pixels are flat.

    The published rule takes the Sobel derivatives of the grey image as 32-bit floats. They are whole numbers
    within +-1020, so 16-bit integers hold the same values in half the memory.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    gx = cv2.convertScaleAbs(cv2.Sobel(grey, cv2.CV_16S, 1, 0, ksize=3))
    gy = cv2.convertScaleAbs(cv2.Sobel(grey, cv2.CV_16S, 0, 1, ksize=3))
    magnitude = cv2.addWeighted(gx, 0.5, gy, 0.5, 0)
    n_flat = np.count_nonzero(magnitude < MIN_EDGE_MAGNITUDE)
    return n_flat <= MAX_FLAT_FRACTION * magnitude.size


def shrink(rgb):
    """A tile at THUMBNAIL_PX, for the mask."""
    return cv2.resize(rgb, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
