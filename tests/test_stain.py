"""Stain normalisation against the published way with SPAMS, and on tiles that have no two stains."""
import runpy

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT

from tiles import slide_reader, stain, stain_batch, tiling

published = runpy.run_path(ROOT / "tests" / "benchmarks" / "published_way.py")
WHITE = np.full((64, 64, 3), 255, np.uint8)


def stained_tile(rng, side=128, stains=stain.TARGET_STAINS, amounts=((2, 3), (2, 3))):
    """A tile of two stains with gamma-distributed amounts, smooth as tissue is."""
    c = np.stack([cv2.GaussianBlur(rng.gamma(shape, 1 / rate, (side, side)), (0, 0), 2) for shape, rate in amounts])
    od = np.einsum("sc,syx->yxc", stains / np.linalg.norm(stains, axis=1, keepdims=True), c)
    return (255 * np.exp(-od)).astype(np.uint8)


def grey_levels_apart(rgb):
    return np.abs(stain.normalise(rgb).astype(int) - published["macenko"](rgb)).max()


@pytest.mark.parametrize("name, edge", [("CMU-1-Small-Region.svs", 512), ("TCGA-CR-7395-01A-01-TS1.svs", 512)])
def test_real_tiles_are_those_of_spams(shared_data, name, edge):
    with slide_reader.SlideReader(shared_data / "slides" / name) as reader:
        coords = tiling.grid_of(*reader.size, edge).corners
        tiles = [reader.read_tile(x, y, edge) for x, y in coords]
    kept = [tile for tile in tiles if tiling.is_tissue(tile)]
    assert max(grey_levels_apart(tile) for tile in kept) <= 1


@pytest.mark.parametrize("seed", range(10))
def test_painted_tiles_are_those_of_spams(seed):
    rng = np.random.default_rng(seed)
    stains = stain.TARGET_STAINS * rng.uniform(0.7, 1.4, (2, 3))
    assert grey_levels_apart(stained_tile(rng, stains=stains)) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_random_colours_are_those_of_spams(seed):
    rng = np.random.default_rng(seed)
    assert grey_levels_apart(rng.integers(0, 256, (96, 80, 3), dtype=np.uint8)) <= 1


def test_one_stain_with_noise_is_that_of_spams():
    tile = stained_tile(np.random.default_rng(0), stains=stain.TARGET_STAINS[[0, 0]])
    assert grey_levels_apart(tile) <= 1


@pytest.mark.parametrize("stains", [
    [[0.6, 0.7, 0.4], [0.2, 0.8, 0.6]], [[0.9, 0.3, 0.1], [-0.4, 0.8, 0.5]], [[0.65, 0.7, 0.29], [0.66, 0.69, 0.3]]])
def test_concentrations_are_the_lasso_of_spams(stains):
    """Also where one, the other, or both stains are absent, and where the stains' product is negative."""
    stains = np.array(stains) / np.linalg.norm(stains, axis=1, keepdims=True)
    od = np.random.default_rng(0).normal(0.1, 0.4, (5000, 3))
    expected = published["lasso"](od, stains)
    found = stain.concentrations(od.T.astype(np.float32), stains).T
    assert {(a > 0, b > 0) for a, b in expected} == {(False, False), (False, True), (True, False), (True, True)}
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_stains_are_recovered_and_haematoxylin_comes_first():
    amounts = np.random.default_rng(0).gamma(0.3, 1, (2, 1, 100_000))   # many pixels with almost one stain only
    unit = stain.TARGET_STAINS / np.linalg.norm(stain.TARGET_STAINS, axis=1, keepdims=True)
    for order in ([0, 1], [1, 0]):
        od = np.einsum("sc,syx->cyx", unit[order], amounts).reshape(3, -1).astype(np.float32)
        assert np.degrees(np.arccos(np.sum(stain.stain_matrix(od) * unit, axis=1))).max() < 2


@pytest.mark.parametrize("q", [1, 50, 95, 99])
@pytest.mark.parametrize("size", [1, 2, 3, 100, 4097])
def test_percentiles_are_those_of_numpy(q, size):
    rng = np.random.default_rng(size)
    values = rng.normal(size=size).astype(np.float32)
    assert stain.percentile(values, q) == pytest.approx(np.percentile(values.astype(float), q), abs=1e-6)
    whole = rng.integers(0, 256, size)
    assert stain.percentile_of_counts(np.bincount(whole, minlength=256), q) == pytest.approx(np.percentile(whole, q))


def few_pixels(n):
    tile = WHITE.copy()
    tile[0, :n] = np.random.default_rng(n).integers(0, 256, (n, 3))
    return tile


DEGENERATE = {"white": WHITE, "black": WHITE * 0, "grey": WHITE // 2, "one colour": WHITE - np.uint8([90, 140, 30]),
              "half black": np.concatenate([WHITE, WHITE * 0]),
              "two colours": np.concatenate([WHITE - np.uint8([90, 140, 30]), WHITE]),
              "almost black": WHITE * 0 + np.uint8(1)} | {f"{n} pixels": few_pixels(n) for n in (1, 2, 3, 5, 20)}


@pytest.mark.parametrize("name", DEGENERATE)
def test_tiles_without_two_stains_keep_their_colours(name):
    """Published code divides by zero here. Such a tile comes back with corrected brightness, as any tile starts."""
    tile = DEGENERATE[name]
    with np.errstate(all="raise"):
        found = stain.normalise(tile)
    p95 = np.percentile(tile, 95)
    np.testing.assert_array_equal(found, np.maximum(np.clip(tile * 255.0 / p95, 0, 255), 1).astype(np.uint8)
                                  if p95 else np.maximum(tile, 1))


def test_the_same_tile_brighter_or_darker_looks_the_same():
    tile = stained_tile(np.random.default_rng(1))
    darker = (tile * 0.8).astype(np.uint8)
    assert np.abs(stain.normalise(tile).astype(int) - stain.normalise(darker)).mean() < 3


def test_many_tiles_at_once_are_those_one_by_one():
    """The code for a GPU, here on the CPU: painted, random and degenerate tiles in one batch."""
    tiles = [stained_tile(np.random.default_rng(seed), side=64) for seed in range(4)]
    tiles += [np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8) for seed in range(2)]
    tiles += [tile for tile in DEGENERATE.values() if tile.shape == WHITE.shape]
    found = stain_batch.normalise(torch.from_numpy(np.stack(tiles))).numpy()
    for one, tile in zip(found, tiles):
        assert np.abs(one.astype(int) - stain.normalise(tile)).max() <= 1
