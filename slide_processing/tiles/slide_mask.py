"""The quality-control page of one slide: what was scanned, and what was kept."""
import time

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tiles.tiling import THUMBNAIL_PX

GRID_COLOUR = (0, 160, 0)
GAP_PX = 16                 # white space around and between the two mosaics
TITLE_PX = 20               # height of a line of the title
MIN_PAGE_PX = 640           # so that the title of a small slide has room
PIXELS_PER_INCH = 100
JPEG_QUALITY = 70


def write_mask(path, scanned, normalised, title):
    """Write one page: left the mosaic as scanned, right the kept, normalised tiles on white, both with a grid.

    Parameters
    ----------
    scanned, normalised : ndarray of uint8, shape (height, width, 3)
        At 1/16 of the tiles (see `extraction.Extraction`).
    title : list of str
        Lines above the mosaics.
    """
    height, width = scanned.shape[:2]
    top = GAP_PX + TITLE_PX * len(title)
    page = Image.new("RGB", (max(2 * width + 3 * GAP_PX, MIN_PAGE_PX), top + height + 2 * GAP_PX), "white")
    draw = ImageDraw.Draw(page)
    draw.multiline_text((GAP_PX, GAP_PX // 2), "\n".join(title), "black", ImageFont.load_default(TITLE_PX * 0.7))
    for mosaic, left in ((scanned, GAP_PX), (normalised, width + 2 * GAP_PX)):
        page.paste(Image.fromarray(with_grid(mosaic)), (left, top))
    epoch = time.gmtime(0)  # the same slide gives the same bytes
    page.save(path, "PDF", resolution=PIXELS_PER_INCH, quality=JPEG_QUALITY, title=title[0], creationDate=epoch,
              modDate=epoch)


def with_grid(mosaic):
    """The mosaic with a line around each tile."""
    lined = np.pad(mosaic, ((0, 1), (0, 1), (0, 0)))
    lined[::THUMBNAIL_PX] = GRID_COLOUR
    lined[:, ::THUMBNAIL_PX] = GRID_COLOUR
    return lined
