"""The grid and the Sobel rule against the published ones."""
import runpy

import numpy as np
import pytest
from conftest import ROOT

from slide_ex.slides import scale
from tiles import tiling

published = runpy.run_path(ROOT / "tests" / "benchmarks" / "published_way.py")


@pytest.mark.parametrize("magnification, edge", [(20, 512), (40, 1024), (82.44, 2110), (20.04, 513), (39.6, 1014)])
def test_edge_at_level_0(magnification, edge):
    assert scale.level0_tile_px(magnification, tiling.TILE_PX, tiling.MAGNIFICATION) == edge


@pytest.mark.parametrize("width, height", [(0, 0), (511, 5000), (512, 512), (2220, 2967), (1537, 1024)])
def test_grid_covers_whole_tiles_row_by_row(width, height):
    grid = tiling.grid_of(width, height, 512)
    expected = [[x, y] for y in range(0, height - 511, 512) for x in range(0, width - 511, 512)]
    assert grid.corners.tolist() == expected and len(grid) == len(expected) and grid.corners.dtype == np.int32
    centres = np.stack(np.meshgrid(*grid.centres), axis=-1).reshape(-1, 2)
    np.testing.assert_array_equal(centres, grid.corners + 256)


@pytest.mark.parametrize("seed", range(20))
def test_tissue_rule_is_the_published_one(seed):
    """Random contrast, so that about half of the tiles are kept; 16-bit Sobel equals 32-bit float."""
    rng = np.random.default_rng(seed)
    tile = np.clip(rng.normal(200, rng.uniform(3, 9), (256, 256, 3)), 0, 255).astype(np.uint8)
    assert tiling.is_tissue(tile) == published["is_tissue"](tile)


def test_full_contrast_does_not_overflow():
    tile = np.random.default_rng(0).choice(np.uint8([0, 255]), (128, 128, 1)).repeat(3, axis=2)
    assert tiling.is_tissue(tile) and published["is_tissue"](tile)


@pytest.mark.parametrize("n_flat, kept", [(50, True), (51, False), (49, True)])
def test_more_than_half_must_be_flat(monkeypatch, n_flat, kept):
    """Exactly half is tissue: the rule drops a tile when *more* than half of its pixels are flat."""
    magnitude = np.full(100, tiling.MIN_EDGE_MAGNITUDE, np.uint8)
    magnitude[:n_flat] -= 1
    monkeypatch.setattr(tiling.cv2, "addWeighted", lambda *_: magnitude.reshape(10, 10))
    assert tiling.is_tissue(np.zeros((10, 10, 3), np.uint8)) == kept
