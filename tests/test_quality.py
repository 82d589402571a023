"""Quality of tiles: told in the feature file, the log, the masks and the report; used only when asked for."""
import cv2
import h5py
import numpy as np
import pytest
from pypdf import PdfReader
from scipy import ndimage
from test_extraction import MeanColour
from test_slide_scale import SETTINGS, row_of

import painted_slides
from slide_ex.project import feature_file
from tiles import quality, slide_files, tiling

DAB = np.array([.27, .57, .78])     # optical density in red, green, blue


@pytest.fixture(scope="module")
def tile():
    return painted_slides.tissue(512, 512)


def brown(rgb):
    """The same tissue in the colour of DAB."""
    od = -np.log(np.maximum(rgb, 1) / 255).sum(axis=2, keepdims=True) / 1.6
    return (255 * np.exp(-od * DAB)).astype(np.uint8)


def stroke(rgb, colour):
    return cv2.line(rgb.copy(), (0, 100), (511, 400), colour, 90)


def measures(rgb):
    return dict(zip(quality.MEASURES, quality.measure(rgb, tiling.shrink(rgb))))


def test_tissue_is_sharp_stained_and_unmarked(tile):
    found = measures(tile)
    assert found["sharpness"] > quality.BLURRED and found["he_share"] > .95 and found["pen_share"] < .01
    assert found["glass_share"] == 0 and measures(np.full((512, 512, 3), 250, np.uint8))["glass_share"] == 1


def test_measures_are_those_by_hand(tile):
    grey = cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY).astype(float)
    assert measures(tile)["sharpness"] == pytest.approx(ndimage.laplace(grey, mode="mirror").var(), rel=1e-6)
    pixels = {"glass": (216, 250, 250), "pale": (215, 250, 250), "as green as H&E can be": (150, 155, 150),
              "greener": (150, 156, 150), "blue pen": (100, 111, 141), "paler": (100, 111, 140)}
    _, *shares = quality.measure(tile, np.uint8([[colour] for colour in pixels.values()]))
    assert shares == pytest.approx([1 / 5, 1 / 6, 1 / 6])       # H&E off the glass, pen, glass


def test_what_is_wrong_is_measured(tile):
    assert measures(cv2.GaussianBlur(tile, (0, 0), 3))["sharpness"] < quality.BLURRED
    assert measures(brown(tile))["he_share"] < .05
    grey = cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)
    assert measures(cv2.merge([grey] * 3))["he_share"] == 0
    for colour in ((40, 60, 170), (40, 130, 70), (25, 25, 30), (190, 30, 50)):
        assert measures(stroke(tile, colour))["pen_share"] > quality.MARKED


def write_marked(tmp_path):
    """Four tiles of tissue, of which the second is under a pen."""
    picture = painted_slides.slide_picture(2, 2)
    picture[:512, 512:] = stroke(picture[:512, 512:], (40, 60, 170))
    painted_slides.write_svs(tmp_path / "slides" / "s.svs", picture)


def test_marked_tiles_are_kept_and_told_or_dropped_and_recorded(tmp_path):
    write_marked(tmp_path)
    assert slide_files.process(tmp_path, row_of(), MeanColour())["kept"] == 4
    made = feature_file.read_attributes(tmp_path / "features" / "s.h5")
    assert made["pen_share"] == .25 and feature_file.oddities(made) == ["25% of its tiles under pen"]
    with h5py.File(tmp_path / "features" / "s.h5") as file:
        assert file["measures"].shape == (4, 4) and (file["measures"][:, 2] > quality.MARKED).tolist() == [
            False, True, False, False]
    with pytest.raises(ValueError, match="drop was nothing, now pen"):
        slide_files.is_finished(tmp_path, row_of(), SETTINGS | {"drop": "pen"})
    assert slide_files.process(tmp_path, row_of(), MeanColour(), wanted=tiling.TileSettings(drop="pen"))["kept"] == 3
    made = feature_file.read_attributes(tmp_path / "features" / "s.h5")
    assert (made["drop"], made["n_dropped"], made["pen_share"]) == ("pen", 1, 0)


def test_masks_and_log_mark_odd_slides(tmp_path, run_script):
    project = painted_slides.make_project(tmp_path / "p", {"s": None})
    write_marked(project)
    done = run_script("slide_processing/1main_processing.py", project, "all", "--weights", "random")
    assert done.returncode == 0 and "s: 25% of its tiles under pen" in done.stdout
    assert run_script("slide_processing/collect_mask.py", project).returncode == 0
    assert PdfReader(project / "mask.pdf").outline[0].title == "s: 25% of its tiles under pen"


def test_real_slides_are_not_odd(shared_data, tmp_path):
    (tmp_path / "slides").symlink_to(shared_data / "slides")
    for name in ("CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1.svs"):
        slide_files.process(tmp_path, row_of(filename=name, magnification=20.), MeanColour())
        assert feature_file.oddities(feature_file.read_attributes(tmp_path / "features" / "s.h5")) == []
