"""The quality-control page of one slide: what was scanned, and what was kept."""
import time

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from slide_ex.project.mask_file import GAP_PX, THUMBNAIL_PX

GRID_COLOUR = (0, 160, 0)
REGION_COLOUR = (0, 60, 255)
OUTLINE_PX = 2
TITLE_PX = 20               # height of a line of the title
MIN_PAGE_PX = 640           # so that the title of a small slide has room
PIXELS_PER_INCH = 100
JPEG_QUALITY = 70


def write_mask(path, scanned, normalised, title, region=None, level0_tile_px=0):
    """Write one page: left the mosaic as scanned, right the kept, normalised tiles on white, both with a grid.

    Parameters
    ----------
    scanned, normalised : ndarray of uint8, shape (height, width, 3)
        At 1/16 of the tiles (see `extraction.Extraction`).
    title : list of str
        Lines above the mosaics.
    region : Polygons or Picture
        Its outline is drawn over both; `level0_tile_px` is the side of a tile.
    """
    height, width = scanned.shape[:2]
    top = GAP_PX + TITLE_PX * len(title)
    page = Image.new("RGB", (max(2 * width + 3 * GAP_PX, MIN_PAGE_PX), top + height + 2 * GAP_PX), "white")
    draw = ImageDraw.Draw(page)
    draw.multiline_text((GAP_PX, GAP_PX // 2), "\n".join(title), "black", ImageFont.load_default(TITLE_PX * 0.7))
    lines = region and outline(region, height, width, level0_tile_px)
    for mosaic, left in ((scanned, GAP_PX), (normalised, width + 2 * GAP_PX)):
        lined = with_grid(mosaic)
        if region:
            lined[:height, :width][lines] = REGION_COLOUR
        page.paste(Image.fromarray(lined), (left, top))
    epoch = time.gmtime(0)  # the same slide gives the same bytes
    page.save(path, "PDF", resolution=PIXELS_PER_INCH, quality=JPEG_QUALITY, title=title[0], creationDate=epoch,
              modDate=epoch)


def outline(region, height, width, level0_tile_px):
    """The pixels of a mosaic at the border of regions, bool (height, width)."""
    x, y = ((np.arange(side) + 0.5) * level0_tile_px / THUMBNAIL_PX for side in (width, height))
    inside = np.pad(region.holds(x, y), OUTLINE_PX).astype(np.uint8)   # what reaches the slide's border has one there
    thin = cv2.erode(inside, np.ones((2 * OUTLINE_PX + 1, 2 * OUTLINE_PX + 1), np.uint8))
    return (inside > thin)[OUTLINE_PX:-OUTLINE_PX, OUTLINE_PX:-OUTLINE_PX]


def with_grid(mosaic):
    """The mosaic with a line around each tile."""
    lined = np.pad(mosaic, ((0, 1), (0, 1), (0, 0)))
    lined[::THUMBNAIL_PX] = GRID_COLOUR
    lined[:, ::THUMBNAIL_PX] = GRID_COLOUR
    return lined
