"""Tiles of one whole-slide image as RGB arrays, in front of everything that real slides do."""
import logging
import time

import numpy as np
import openslide
from PIL import Image

from slide_ex.slides import opening
from tiles import tiling

ATTEMPTS = 3                # a network file system may hiccup
FIRST_PAUSE_S = 0.2         # before the second attempt; doubles for each further one
CACHE_BYTES = 32 << 20      # decoded blocks that each reader keeps; blocks are shared by neighbouring tiles


class UnreadableTile(OSError):
    """A region that could not be decoded, ATTEMPTS times."""


class SlideReader:
    """One slide, open. Not to be shared by threads: OpenSlide's handle is dead after an error and is re-opened.

    Attributes: `size` (width, height) in level-0 pixels, `properties` (dict of str).
    """

    def __init__(self, path):
        self.path = path
        self.slide = open_slide(path)
        self.size = self.slide.dimensions
        self.properties = dict(self.slide.properties)
        self.background = background_colour(self.properties)
        self.bounds = scanned_bounds(self.properties, self.size)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.slide.close()

    def read_tile(self, x, y, level0_tile_px, tile_px=tiling.TILE_PX):
        """The square of level 0 at (x, y), `level0_tile_px` pixels wide, as uint8 (tile_px, tile_px, 3).

        Tiles outside the scanned bounds are background, without being read: OpenSlide has no pixels there.
        """
        left, top, right, bottom = self.bounds
        if x >= right or y >= bottom or x + level0_tile_px <= left or y + level0_tile_px <= top:
            return np.full((tile_px, tile_px, 3), self.background, np.uint8)
        region = over(self.read_region(x, y, level0_tile_px), self.background)
        if level0_tile_px != tile_px:
            region = region.resize((tile_px, tile_px), Image.Resampling.BICUBIC)
        return np.asarray(region)

    def read_region(self, x, y, level0_tile_px):
        """RGBA picture of a square of level 0; a failed read is repeated on a fresh handle."""
        for pause in pauses():
            try:
                return self.slide.read_region((int(x), int(y)), 0, (level0_tile_px, level0_tile_px))
            except openslide.OpenSlideError as error:
                self.slide.close()
                if pause is None:
                    self.slide = open_slide(self.path)
                    raise UnreadableTile(f"tile at x={x}, y={y} is unreadable: {error}") from None
                time.sleep(pause)
                self.slide = open_slide(self.path)


def pauses():
    """Seconds to wait after each failed attempt; None after the last."""
    yield from (FIRST_PAUSE_S * 2 ** attempt for attempt in range(ATTEMPTS - 1))
    yield None


def open_slide(path):
    """An OpenSlide handle; errors name the file."""
    for pause in pauses():
        try:
            slide = opening.open_slide(path)
            slide.set_cache(openslide.OpenSlideCache(CACHE_BYTES))
            return slide
        except openslide.OpenSlideError as error:
            if pause is None:
                raise OSError(f"{path} cannot be opened: {error}") from None
            logging.info("%s cannot be opened (%s), trying again in %g s", path.name, error, pause)
            time.sleep(pause)


def background_colour(properties):
    """The colour of glass that the scanner states, white where it states none."""
    text = properties.get("openslide.background-color", "FFFFFF")
    return tuple(int(text[i:i + 2], 16) for i in (0, 2, 4))


def scanned_bounds(properties, size):
    """Left, top, right, bottom of the scanned area in level-0 pixels; the whole slide where none is stated."""
    left, top = (int(properties.get(f"openslide.bounds-{name}", 0)) for name in "xy")
    width, height = (int(properties.get(f"openslide.bounds-{name}", whole))
                     for name, whole in zip(("width", "height"), size))
    return left, top, left + width, top + height


def over(region, background):
    """RGB picture of an RGBA region laid over the background colour."""
    if region.getextrema()[3] == (255, 255):
        return region.convert("RGB")
    canvas = Image.new("RGB", region.size, background)
    canvas.paste(region, mask=region.getchannel("A"))
    return canvas
