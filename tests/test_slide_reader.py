"""Real slides' troubles, each with a file that has it: bad blocks, truncation, no slide, transparency, hiccups."""
import numpy as np
import openslide
import pytest
from PIL import Image

import painted_slides
from tiles import slide_reader


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(slide_reader, "FIRST_PAUSE_S", 0)


@pytest.fixture
def slide(tmp_path):
    """A slide of 4 x 4 tiles, and the offsets of its 8 x 8 blocks."""
    path = tmp_path / "slide.svs"
    return path, painted_slides.write_svs(path, painted_slides.slide_picture(4, 4))


def unreadable_tiles(path):
    """Numbers of the tiles that fail."""
    bad = []
    with slide_reader.SlideReader(path) as reader:
        for i in range(16):
            try:
                reader.read_tile(i % 4 * 512, i // 4 * 512, 512)
            except slide_reader.UnreadableTile as error:
                assert f"x={i % 4 * 512}, y={i // 4 * 512}" in str(error)
                bad.append(i)
    return bad


def test_a_bad_block_costs_only_its_own_tile(slide):
    """OpenSlide's handle is dead after an error: without a fresh one all later tiles would fail."""
    path, offsets = slide
    assert unreadable_tiles(path) == []
    painted_slides.spoil_block(path, offsets[1 * 8 + 3])        # block row 1, column 3: tile 1
    assert unreadable_tiles(path) == [1]


def test_truncated_file(slide):
    """Cut after the last block of the second row of tiles."""
    path, offsets = slide
    with open(path, "r+b") as file:
        file.truncate(offsets[4 * 8])
    try:
        bad = unreadable_tiles(path)
    except OSError as error:
        assert str(path) in str(error)
    else:
        assert bad == list(range(8, 16))


@pytest.mark.parametrize("content", [b"", b"not a slide", b"II*\0" + bytes(100)])
def test_no_slide(tmp_path, content):
    path = tmp_path / "x.svs"
    path.write_bytes(content)
    with pytest.raises((ValueError, OSError), match="x.svs (is no whole-slide image|cannot be opened)"):
        slide_reader.SlideReader(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="check Filename in metadata.csv"):
        slide_reader.SlideReader(tmp_path / "x.svs")


@pytest.mark.parametrize("failures, readable", [(1, True), (2, True), (3, False)])
def test_hiccups_of_the_file_system(slide, monkeypatch, failures, readable):
    """Reads and openings that fail twice are repeated on a fresh handle; the third failure counts."""
    left = [failures]

    def hiccup(function):
        def attempt(*arguments):
            if left[0]:
                left[0] -= 1
                raise openslide.OpenSlideError("input/output error")
            return function(*arguments)
        return attempt

    with slide_reader.SlideReader(slide[0]) as reader:
        monkeypatch.setattr(openslide.OpenSlide, "read_region", hiccup(openslide.OpenSlide.read_region))
        if readable:
            assert reader.read_tile(0, 0, 512).shape == (512, 512, 3)
        else:
            with pytest.raises(slide_reader.UnreadableTile):
                reader.read_tile(0, 0, 512)
            assert reader.read_tile(0, 0, 512).shape == (512, 512, 3)
    left[0] = failures
    monkeypatch.setattr(openslide, "OpenSlide", hiccup(openslide.OpenSlide))
    if readable:
        slide_reader.open_slide(slide[0]).close()
    else:
        with pytest.raises(OSError, match="cannot be opened"):
            slide_reader.open_slide(slide[0])


def test_tiles_are_resampled_from_level_0(slide):
    with slide_reader.SlideReader(slide[0]) as reader, openslide.OpenSlide(slide[0]) as plain:
        region = plain.read_region((100, 200), 0, (1014, 1014)).convert("RGB")
        expected = region.resize((512, 512), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(reader.read_tile(100, 200, 1014), np.asarray(expected))


def test_transparency_is_background_not_black():
    region = Image.new("RGBA", (4, 4), (10, 20, 30, 255))
    region.putpixel((0, 0), (0, 0, 0, 0))
    region.putpixel((1, 0), (100, 100, 100, 51))
    found = np.asarray(slide_reader.over(region, (200, 210, 220)))
    assert found[0, 0].tolist() == [200, 210, 220] and found[1, 1].tolist() == [10, 20, 30]
    assert found[0, 1].tolist() == [180, 188, 196]


def test_slide_with_bounds(tmp_path, monkeypatch):
    """Pixels that were not scanned are transparent: they become glass, and tiles without any are not even read."""
    path = tmp_path / "slide.scn"
    painted_slides.write_scn(path, painted_slides.tissue(600, 600), 700, 650, 2048, 2048)
    with slide_reader.SlideReader(path) as reader:
        assert reader.size == (2048, 2048) and reader.bounds == (700, 650, 1300, 1250)
        tile = reader.read_tile(512, 512, 512)
        assert (tile[:138] == 255).all() and (tile[:, :188] == 255).all() and tile[138:, 188:].mean() < 200
        monkeypatch.setattr(reader, "read_region", lambda *_: pytest.fail("read outside the scanned area"))
        outside = {(x, y) for x in range(0, 2048, 512) for y in range(0, 2048, 512)} \
            - {(x, y) for x in (512, 1024) for y in (512, 1024)}
        assert all((reader.read_tile(x, y, 512) == 255).all() for x, y in outside)
