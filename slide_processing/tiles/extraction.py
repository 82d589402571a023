"""From one slide to the features of its tissue tiles, with all CPUs at work and bounded memory.

One pool of threads does both jobs, preparing a tile and encoding a batch; both release Python's lock. On a GPU
encoding has a thread of its own. At most WINDOW_TILES tiles a thread are under way, whatever the slide's size.

Glass is read like tissue: the coarse levels of a pyramid are compressed anew, so they promise nothing about the
edges at level 0 that decide what is tissue.
"""
import contextlib
import math
import queue
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from tiles import quality, slide_reader, tiling
from tiles.tiling import THUMBNAIL_PX, shrink

WINDOW_TILES = 8            # tiles a thread that are being prepared or wait for a batch
MIN_BATCHES = 4             # of a slide on CPUs: of a small one in one batch only one core would be at work


@dataclass
class Tile:
    """One tile on its way. Glass, and what lies outside, is not prepared; an unreadable one has `error` only."""

    thumbnail: np.ndarray = None        # uint8 (THUMBNAIL_PX, THUMBNAIL_PX, 3), as scanned
    mean_rgb: tuple = None              # as scanned, 0..255
    measures: tuple = None              # quality.MEASURES, as scanned
    prepared: object = None             # what the encoder makes of a tissue tile
    is_tissue: bool = False
    error: slide_reader.UnreadableTile = None


@dataclass
class Extraction:
    """What one slide gives. Rows of features, kept, mean_rgb and measures belong together."""

    features: np.ndarray                # float32 (n_kept, n_features)
    kept: np.ndarray                    # int (n_kept,), numbers of the tissue tiles in the grid
    mean_rgb: np.ndarray                # float32 (n_kept, 3)
    measures: np.ndarray                # float32 (n_kept, 4), quality.MEASURES
    n_dropped: int                      # tissue tiles that were left out by `drop`
    is_tissue: np.ndarray               # bool (n_tiles,), inside the regions or not
    unreadable: np.ndarray              # int (n_unreadable,), numbers of the unreadable tiles in the grid
    scanned: np.ndarray                 # uint8 (n_rows * THUMBNAIL_PX, n_columns * THUMBNAIL_PX, 3)
    normalised: np.ndarray              # the same with the kept, normalised tiles on white


def extract(path, grid, encoder, n_threads, max_unreadable=0.0, tile_px=tiling.TILE_PX, drop=(), inside=None):
    """Read, select, normalise and encode the tiles of a slide.

    Parameters
    ----------
    path : Path
    grid : tiling.Grid
    encoder : TileEncoder
    n_threads : int
    max_unreadable : float
        Share of the tiles that may be unreadable; one more raises UnreadableTile.
    tile_px : int
        Side of a tile after resampling.
    drop : tuple of str
        quality.DROPS to leave out.
    inside : ndarray of bool, shape (n_tiles,)
        Tiles that may be kept, None for all; the others are read for the picture of the slide only.
    """
    mosaic = np.full((grid.n_rows, THUMBNAIL_PX, grid.n_columns, THUMBNAIL_PX, 3), 255, np.uint8)
    scanned, normalised = mosaic, mosaic.copy()
    inside = np.ones(len(grid), bool) if inside is None else inside
    kept, mean_rgb, measures, dropped, unreadable = [], [], [], [], []
    is_tissue = np.zeros(len(grid), bool)

    def tissue():
        """The tissue tiles in order, prepared; notes everything else on the way."""
        for i, tile in enumerate(tiles):
            if tile.error is not None:
                unreadable.append(i)
                if len(unreadable) > max_unreadable * len(grid):
                    raise tile.error
                continue
            row, column = divmod(i, grid.n_columns)
            scanned[row, :, column] = tile.thumbnail
            is_tissue[i] = tile.is_tissue
            if tile.measures is not None and quality.is_dropped(tile.measures, drop):
                dropped.append(i)
            elif tile.prepared is not None:
                kept.append(i)
                mean_rgb.append(tile.mean_rgb)
                measures.append(tile.measures)
                yield tile.prepared

    with contextlib.ExitStack() as stack:
        readers = stack.enter_context(reader_pool(path))
        pool = stack.enter_context(threads(n_threads))
        encode_pool, n_encoding = pool, n_threads
        batch_tiles = min(encoder.batch_tiles, math.ceil(len(grid) / MIN_BATCHES))
        if encoder.device.type != "cpu":
            encode_pool, n_encoding, batch_tiles = stack.enter_context(threads(1)), 1, encoder.batch_tiles
        tiles = in_order(pool, WINDOW_TILES * n_threads,
                         lambda one: prepare(readers, *one[0], grid.level0_tile_px, tile_px, encoder.prepare, one[1]),
                         zip(grid.corners.tolist(), inside))
        batches = in_order(encode_pool, n_encoding + 1, encoder.encode, batched(tissue(), batch_tiles))
        features, thumbnails = map(np.concatenate, zip(encoder.encode([]), *batches))
    kept = np.array(kept, int)
    normalised[kept // grid.n_columns, :, kept % grid.n_columns] = thumbnails
    shape = (grid.n_rows * THUMBNAIL_PX, grid.n_columns * THUMBNAIL_PX, 3)
    return Extraction(features, kept, np.array(mean_rgb, np.float32).reshape(-1, 3),
                      np.array(measures, np.float32).reshape(-1, len(quality.MEASURES)), len(dropped),
                      is_tissue, np.array(unreadable, int), scanned.reshape(shape), normalised.reshape(shape))


def prepare(readers, x, y, level0_tile_px, tile_px, to_prepared, is_inside=True):
    """Read one tile and, if it is tissue inside the regions, begin its way to features."""
    with readers() as reader:
        try:
            rgb = reader.read_tile(x, y, level0_tile_px, tile_px)
        except slide_reader.UnreadableTile as error:
            return Tile(error=error)
    is_tissue, thumbnail = tiling.is_tissue(rgb), shrink(rgb)
    if not (is_tissue and is_inside):
        return Tile(thumbnail, is_tissue=is_tissue)
    return Tile(thumbnail, cv2.mean(rgb)[:3], quality.measure(rgb, thumbnail), to_prepared(rgb), is_tissue)


def in_order(pool, window, work, items):
    """Yield work(item) for each item, in order; at most `window` are under way in the pool."""
    pending = deque()
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) >= window:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def batched(items, size):
    """Lists of `size` items, the last one shorter."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


@contextlib.contextmanager
def threads(n):
    """A pool of n threads; when the block fails, what has not begun is dropped."""
    cv2.setNumThreads(1)
    pool = ThreadPoolExecutor(n)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def reader_pool(path):
    """Give a function that lends a SlideReader for a with-block, as many as threads ask for at the same time."""
    idle, opened = queue.LifoQueue(), []

    @contextlib.contextmanager
    def lend():
        try:
            reader = idle.get_nowait()
        except queue.Empty:
            reader = slide_reader.SlideReader(path)
            opened.append(reader)
        yield reader
        idle.put(reader)

    try:
        yield lend
    finally:
        for reader in opened:
            reader.slide.close()
