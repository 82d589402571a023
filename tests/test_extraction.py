"""From tiles to files, with an encoder that only averages colours: order, counts, bad tiles, memory, formats."""
import dataclasses

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pypdf import PdfReader

import painted_slides
from slide_ex.project import feature_file
from tiles import extraction, slide_files, slide_mask, slide_reader, stain, tiling

N_FEATURES = 3


class MeanColour:
    """What a TileEncoder promises, in the time of an average."""

    device, batch_tiles = torch.device("cpu"), 4
    settings = {"encoder": "mean", "encoder_version": 1, "weights": "none", "weights_seed": -1, "weights_sha256": "0",
                "precision": "fp32"}

    def prepare(self, rgb):
        return stain.normalise(rgb)

    def encode(self, tiles):
        return (np.array([tile.mean(axis=(0, 1)) for tile in tiles], np.float32).reshape(-1, N_FEATURES),
                np.array([tiling.shrink(tile) for tile in tiles], np.uint8).reshape(-1, 32, 32, 3))


@pytest.fixture
def slide(tmp_path):
    """A slide of 3 x 5 tiles of which 4 are glass, and offsets of its blocks (6 rows of 10)."""
    path = tmp_path / "slides" / "s.svs"
    return path, painted_slides.write_svs(path, painted_slides.slide_picture(3, 5, glass=(0, 6, 7, 14)))


def extract(path, n_threads=2, **options):
    with slide_reader.SlideReader(path) as reader:
        grid = tiling.grid_of(*reader.size, 512)
    return extraction.extract(path, grid, MeanColour(), n_threads, **options)


def test_rows_follow_the_grid(slide):
    found = extract(slide[0])
    assert found.kept.tolist() == [1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13]
    with slide_reader.SlideReader(slide[0]) as reader:
        tiles = [reader.read_tile(i % 5 * 512, i // 5 * 512, 512) for i in found.kept]
    np.testing.assert_allclose(found.mean_rgb, [tile.mean(axis=(0, 1)) for tile in tiles], atol=0.01)
    np.testing.assert_array_equal(found.features, MeanColour().encode([stain.normalise(tile) for tile in tiles])[0])
    for i in range(15):
        place = np.s_[i // 5 * 32:i // 5 * 32 + 32, i % 5 * 32:i % 5 * 32 + 32]
        assert (found.normalised[place] == 255).all() == (i not in found.kept)
    assert found.scanned.shape == (96, 160, 3)


@pytest.mark.parametrize("n_threads", [1, 3, 16])
def test_number_of_threads_changes_nothing(slide, n_threads):
    for a, b in zip(dataclasses.astuple(extract(slide[0])), dataclasses.astuple(extract(slide[0], n_threads))):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("device, most", [("cpu", 4), ("cuda", 8)])
def test_a_small_slide_is_encoded_by_several_cores(slide, monkeypatch, device, most):
    sizes, encode = [], MeanColour.encode
    monkeypatch.setattr(MeanColour, "device", torch.device(device))
    monkeypatch.setattr(MeanColour, "batch_tiles", 8)
    monkeypatch.setattr(MeanColour, "encode", lambda self, tiles: sizes.append(len(tiles)) or encode(self, tiles))
    extract(slide[0])
    assert max(sizes) == most and sum(sizes) == 11


def test_unreadable_tiles_fail_the_slide_unless_accepted(slide, monkeypatch):
    monkeypatch.setattr(slide_reader, "FIRST_PAUSE_S", 0)
    path, offsets = slide
    whole = extract(path)
    painted_slides.spoil_block(path, offsets[3 * 10 + 5])       # tile row 1, column 2: number 7, glass
    painted_slides.spoil_block(path, offsets[0 * 10 + 9])       # tile row 0, column 4: number 4, tissue
    with pytest.raises(slide_reader.UnreadableTile, match="x=2048, y=0"):
        extract(path)
    with pytest.raises(slide_reader.UnreadableTile, match="x=1024, y=512"):
        extract(path, max_unreadable=1.9 / 15)
    found = extract(path, max_unreadable=2 / 15)
    assert found.unreadable.tolist() == [4, 7]
    keep = whole.kept != 4
    np.testing.assert_array_equal(found.kept, whole.kept[keep])
    np.testing.assert_array_equal(found.features, whole.features[keep])


def test_an_error_in_the_encoder_is_not_lost(slide, monkeypatch):
    monkeypatch.setattr(MeanColour, "encode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extract(slide[0])


def test_tiles_under_way_are_bounded():
    """However long the slide, a window of work is handed out ahead of what is taken."""
    given, taken = 0, 0
    with extraction.threads(2) as pool:
        def items():
            nonlocal given
            for given in range(1, 1001):
                yield given
        for result in extraction.in_order(pool, 8, lambda x: x, items()):
            taken += 1
            assert result == taken and given - taken <= 8
    assert taken == 1000


def row_of(filename="s.svs", magnification=np.nan, mpp=np.nan):
    return pd.Series({"slide_id": "s", "filename": filename, "patient_id": "p", "magnification": magnification,
                      "mpp": mpp, "mask_file": ""}, name=7)


def test_feature_file_holds_what_its_docstring_says(slide, tmp_path):
    assert slide_files.process(tmp_path, row_of(), MeanColour()) == {"tiles": 15, "kept": 11, "unreadable": 0}
    expected = extract(slide[0])
    with h5py.File(tmp_path / "features" / "s.h5") as file:
        np.testing.assert_array_equal(file["features"], expected.features)
        np.testing.assert_array_equal(file["coords"], [(i % 5 * 512, i // 5 * 512) for i in expected.kept])
        assert (file["features"].dtype, file["coords"].dtype, file["mean_rgb"].dtype) == ("f4", "i4", "f4")
        assert file["features"].fletcher32 and file["unreadable"].shape == (0, 2)
        attributes, tridents = dict(file.attrs), dict(file["coords"].attrs)
    assert attributes.items() >= (MeanColour.settings | {
        "slide_id": "s", "patient_id": "p", "slide_index": 7, "n_rows": 3, "n_columns": 5, "n_tiles_total": 15,
        "slide_magnification": 20, "magnification_source": "objective power of the slide", "level0_tile_px": 512,
        "tile_px": 512, "magnification": 20, "normalisation": "macenko"}).items()
    assert tridents == {"patch_size": 512, "patch_size_level0": 512, "level0_magnification": 20, "overlap": 0,
                        "target_magnification": 20, "name": "s", "level0_width": 2560, "level0_height": 1536}


def test_magnification_decides_the_grid(slide, tmp_path):
    """The same pixels said to be 40x: tiles twice as wide at level 0, half as many each way."""
    counts = slide_files.process(tmp_path, row_of(magnification=40.0), MeanColour())
    assert counts["tiles"] == 2
    with h5py.File(tmp_path / "features" / "s.h5") as file:
        assert file.attrs["level0_tile_px"] == 1024
        assert len(file["coords"]) and {(x, y) for x, y in file["coords"]} <= {(0, 0), (1024, 0)}


def test_empty_slide_is_an_empty_file_of_the_right_shape(tmp_path):
    painted_slides.write_svs(tmp_path / "slides" / "s.svs", painted_slides.slide_picture(2, 2, glass="all"))
    assert slide_files.process(tmp_path, row_of(), MeanColour())["kept"] == 0
    with h5py.File(tmp_path / "features" / "s.h5") as file:
        assert file["features"].shape == (0, N_FEATURES) and file["coords"].shape == (0, 2)
    assert len(PdfReader(tmp_path / "mask" / "s.pdf").pages) == 1


@pytest.mark.parametrize("changed, message", [
    ({"weights_seed": 5}, "weights_seed was -1, now 5"), ({"encoder": "uni"}, "encoder was mean, now uni"),
    ({"precision": "bf16"}, "precision was fp32, now bf16")])
def test_files_of_another_run_are_refused(slide, tmp_path, changed, message):
    assert not slide_files.is_finished(tmp_path, row_of(), MeanColour.settings)
    slide_files.process(tmp_path, row_of(), MeanColour())
    assert slide_files.is_finished(tmp_path, row_of(), MeanColour.settings)
    with pytest.raises(ValueError, match=message):
        slide_files.is_finished(tmp_path, row_of(), MeanColour.settings | changed)
    with pytest.raises(ValueError, match="slide_magnification was 20.0, now 40.0"):
        slide_files.is_finished(tmp_path, row_of(magnification=40.0), MeanColour.settings)
    painted_slides.write_svs(slide[0], painted_slides.slide_picture(3, 3))
    with pytest.raises(ValueError, match="slide_bytes"):
        slide_files.is_finished(tmp_path, row_of(), MeanColour.settings)


def test_the_same_slide_gives_the_same_bytes(slide, tmp_path):
    contents = []
    for _ in range(2):
        slide_files.process(tmp_path, row_of(), MeanColour())
        contents.append([(tmp_path / name).read_bytes() for name in ("features/s.h5", "mask/s.pdf")])
    assert contents[0] == contents[1]


def test_mask_shows_slide_and_kept_tiles_between_green_lines(tmp_path):
    scanned, normalised = np.full((64, 96, 3), 90, np.uint8), np.full((64, 96, 3), 255, np.uint8)
    normalised[:32, :32] = 200
    slide_mask.write_mask(tmp_path / "m.pdf", scanned, normalised, ["slide", "20x"])
    picture = np.asarray(PdfReader(tmp_path / "m.pdf").pages[0].images[0].image.convert("RGB")).astype(int)
    top = slide_mask.GAP_PX + 2 * slide_mask.TITLE_PX
    left, right = slide_mask.GAP_PX, 96 + 2 * slide_mask.GAP_PX
    for x, y, colour in [(left + 16, top + 16, 90), (left + 80, top + 48, 90), (right + 16, top + 16, 200),
                         (right + 48, top + 16, 255)]:
        assert abs(picture[y, x] - colour).max() < 8
    red, green, _ = picture[top + 32, left + 5]
    assert green > red + 40


def test_mask_of_a_large_slide_is_small(tmp_path):
    """100 x 100 tiles of tissue: below 8 MB; a typical slide is a tenth of it."""
    mosaic = painted_slides.tissue(3200, 3200)
    slide_mask.write_mask(tmp_path / "m.pdf", mosaic, mosaic, ["slide"])
    assert (tmp_path / "m.pdf").stat().st_size < 8e6
    assert Image.MAX_IMAGE_PIXELS > 6500 * 3300


def test_damaged_feature_file_is_named(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match=r"x.h5 is damaged .* make it again with slide_processing/1main_processing.py"):
        feature_file.read_attributes(tmp_path / "x.h5")
