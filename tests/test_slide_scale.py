"""One place decides the scale of a slide: who comes first, what contradicts, what is no statement, what is finished."""
import math
import os

import h5py
import numpy as np
import pandas as pd
import pytest
import slides_of_files
import tifffile
from test_extraction import MeanColour

import painted_slides
from slide_ex import hdf5
from slide_ex.project import feature_file, features_writing, metadata_file
from slide_ex.slides import scale
from slide_ex.stages import project_states
from tiles import slide_files, tiling

NAN = math.nan
SETTINGS = MeanColour.settings | {"tile_px": 512, "magnification": 20, "normalisation": "macenko"}


def decide(power=NAN, mpp=NAN, table_power=NAN, table_mpp=NAN, prefer="", mpp_y=None):
    return scale.decide(scale.Said(power, mpp, mpp if mpp_y is None else mpp_y), table_power, table_mpp, prefer)


def edge(**statements):
    return scale.level0_tile_px(decide(**statements).power, 512, 20)


def row_of(slide_id="s", filename="s.svs", magnification=NAN, mpp=NAN, patient_id="p"):
    return pd.Series({"slide_id": slide_id, "filename": filename, "patient_id": patient_id,
                      "magnification": magnification, "mpp": mpp, "mask_file": ""}, name=0)


@pytest.mark.parametrize("statements, expected", [
    ({"power": 20}, 512), ({"power": 40}, 1024), ({"power": 82.44}, 2110), ({"mpp": .25}, 1024),
    ({"power": 20, "table_mpp": .243}, round(256 / .243)), ({"power": 20, "table_mpp": .2325}, 1101),
    ({"power": 20, "mpp": .2325, "table_power": 40}, 1024),                 # the table before the slide
    ({"table_mpp": .25, "table_power": 20}, 1024),                          # in the table MPP before Magnification
    ({"power": 40, "mpp": .2325}, 1024), ({"power": 20, "mpp": .499}, 512),   # in the slide power before MPP
    ({"power": 20, "mpp": .2325, "prefer": "mpp"}, 1101), ({"power": 20, "mpp": .2325, "prefer": "power"}, 512),
    ({"power": 40, "mpp": 352.8}, 1024), ({"power": 1.25, "mpp": .5}, 512)])  # what cannot be is no statement
def test_who_comes_first(statements, expected):
    assert edge(**statements) == expected


@pytest.mark.parametrize("power, mpp, is_used", [(20, .25, False), (20, .2325, False), (40, .5, False),
                                                 (20, .45, False), (40, .2325, True), (20, .46, True),
                                                 (20, .545, True)])
def test_a_slide_that_contradicts_itself_says_nothing(power, mpp, is_used):
    if is_used:
        assert decide(power, mpp).power == power
        assert decide(power, mpp).difference == pytest.approx(max(power * mpp / 10, 10 / power / mpp) - 1)
    else:
        with pytest.raises(ValueError, match=f"power says {power}x, MPP says {10 / mpp:.3g}x: fill MPP.*--scale"):
            decide(power, mpp)


def test_what_differs_is_told():
    assert decide(40, .2325).notes and decide(20, .46).difference > scale.MAX_AGREEMENT
    assert not decide(20, .499).notes and decide(20, .499).difference < scale.MAX_AGREEMENT
    note, = decide(table_mpp=.25, table_power=20).notes
    assert note == "MPP in metadata.csv says 40x and is used, Magnification in metadata.csv says 20x"
    assert "objective power of the slide says 20x" in decide(power=20, table_mpp=.243).notes[0]


@pytest.mark.parametrize("statements, message", [
    ({}, "does not say its magnification: add the column Magnification"),
    ({"mpp": 352.78}, "it says 352.8 um per pixel"),
    ({"mpp": 1000}, "it says 1000 um per pixel, outside 0.05 to 5"), ({"mpp": .00025}, "it says 0.00025 um per pixel"),
    ({"power": 1}, "it says power 1"),
    ({"mpp": .25, "mpp_y": .26, "power": 40}, r"not square \(x 0.25 um, y 0.26 um\)")])
def test_no_statement_fails_with_what_was_read(statements, message):
    with pytest.raises(ValueError, match=message):
        decide(**statements)


@pytest.mark.parametrize("column, value", [("MPP", 250), ("MPP", .00025), ("MPP", 352.8), ("Magnification", 1)])
def test_impossible_scales_in_the_table_are_refused(tmp_path, column, value):
    (tmp_path / "metadata.csv").write_text(f"Slide.ID,Filename,Patient.ID,{column}\ns,s.svs,p,{value}\n")
    with pytest.raises(ValueError, match=f"{column} of s is {value:g}, outside .*: fill"):
        metadata_file.read(tmp_path)


OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Instrument ID="I:0">
<Objective ID="O:0" NominalMagnification="{power}"/></Instrument>
<Image ID="Label"><Pixels ID="P:1" SizeX="99" SizeY="99" PhysicalSizeX="9" PhysicalSizeY="9"/></Image>
<Image ID="Image:0"><ObjectiveSettings ID="O:0"/>
<Pixels ID="P:0" DimensionOrder="XYCZT" Type="uint8" SizeX="1024" SizeY="1024" SizeC="3" SizeZ="1" SizeT="1"
PhysicalSizeX="{size}" PhysicalSizeXUnit="{unit}" PhysicalSizeY="{size}" PhysicalSizeYUnit="{unit}"/></Image></OME>"""


@pytest.mark.parametrize("size, unit, power", [
    ("0.25", "µm", 40), ("0.25", "um", 40), ("250", "nm", 40), ("0.0005", "mm", 20)])
def test_ome_xml_counts(tmp_path, size, unit, power):
    path = tmp_path / "slides" / "s.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, painted_slides.tissue(1024, 1024), tile=(256, 256), photometric="rgb", compression="jpeg",
                     resolution=(28, 28), resolutionunit="centimeter", metadata=None,
                     description=OME.format(size=size, unit=unit, power=power).encode())
    slide_files.process(tmp_path, row_of(filename="s.tif"), MeanColour())
    assert feature_file.read_attributes(tmp_path / "features" / "s.h5")["slide_magnification"] == power


@pytest.fixture
def processed(tmp_path):
    """A slide of 20x, processed."""
    painted_slides.write_svs(tmp_path / "slides" / "s.svs", painted_slides.slide_picture(3, 3), power=20)
    slide_files.process(tmp_path, row_of(), MeanColour())
    return tmp_path


@pytest.mark.parametrize("statement, is_same", [
    ({}, True), ({"magnification": 20.}, True), ({"mpp": .5}, True), ({"mpp": .25}, False),
    ({"magnification": 40.}, False)])
def test_finished_compares_the_scale_however_it_is_said(processed, statement, is_same):
    if is_same:
        assert slide_files.is_finished(processed, row_of(**statement), SETTINGS)
    else:
        with pytest.raises(ValueError, match="level0_tile_px was 512, now 1024"):
            slide_files.is_finished(processed, row_of(**statement), SETTINGS)


def test_an_emptied_cell_counts(tmp_path):
    """The table said 40x, the slide says 20x: when the cell is emptied, the tiles would be others."""
    painted_slides.write_svs(tmp_path / "slides" / "s.svs", painted_slides.slide_picture(3, 3), power=20)
    slide_files.process(tmp_path, row_of(magnification=40.), MeanColour())
    assert slide_files.is_finished(tmp_path, row_of(magnification=40.), SETTINGS)
    with pytest.raises(ValueError, match="level0_tile_px was 1024, now 512"):
        slide_files.is_finished(tmp_path, row_of(), SETTINGS)


def test_another_statement_in_a_slide_of_the_same_size_counts(processed):
    path = processed / "slides" / "s.svs"
    n_bytes = path.stat().st_size
    path.write_bytes(path.read_bytes().replace(b"AppMag = 20", b"AppMag = 40"))
    assert path.stat().st_size == n_bytes
    with pytest.raises(ValueError, match="level0_tile_px was 512, now 1024"):
        slide_files.is_finished(processed, row_of(), SETTINGS)


def test_other_pixels_in_a_slide_of_the_same_size_count(processed):
    """Two uncompressed exports of one extent, the later of which kept its old date."""
    picture = painted_slides.slide_picture(3, 3)
    for turned in (picture, picture[::-1]):
        painted_slides.write_svs(processed / "slides" / "s.svs", turned, compression=None)
        os.utime(processed / "slides" / "s.svs", (0, 0))
        if turned is picture:
            slide_files.process(processed, row_of(), MeanColour())
            assert slide_files.is_finished(processed, row_of(), SETTINGS)
    with pytest.raises(ValueError, match="slide_middles_sha256 was"):
        slide_files.is_finished(processed, row_of(), SETTINGS)


def test_both_askers_get_one_answer(processed, run_script):
    """1main_processing.py and check_project.py see the same corrected MPP."""
    (processed / "metadata.csv").write_text("Slide.ID,Filename,Patient.ID,MPP\ns,s.svs,p,0.25\n")
    done = run_script("slide_processing/1main_processing.py", processed, "all", "--weights", "random")
    assert done.returncode == 1 and "level0_tile_px was 512, now 1024" in done.stderr
    assert "stale      slides" in run_script("data/check_project.py", processed).stdout


def test_a_file_of_an_earlier_version_is_compared_too(processed):
    with h5py.File(processed / "features" / "s.h5", "r+") as file:
        for name in (*feature_file.SAYS.values(), "slide_files_sha256", "slide_middles_sha256", "scale_choice",
                     "scale_difference", hdf5.TEXTS):
            del file.attrs[name]
    assert slide_files.is_finished(processed, row_of(), SETTINGS)
    os.rename(processed / "slides", processed / "elsewhere")
    assert slide_files.is_finished(processed, row_of(), SETTINGS)
    with pytest.raises(ValueError, match="level0_tile_px"):
        slide_files.is_finished(processed, row_of(mpp=.25), SETTINGS)


def test_contradicting_slide_fails_and_others_go_on(tmp_path, run_script):
    """The case of a real cohort: AppMag 20, pixels of .2325 um; --scale chooses for all."""
    picture = painted_slides.slide_picture(3, 3)
    painted_slides.make_project(tmp_path / "p", {"bad": picture, "good": picture[:1024], "near": picture[:1024, :1024]})
    painted_slides.write_svs(tmp_path / "p" / "slides" / "bad.svs", picture, 20, .2325)
    painted_slides.write_svs(tmp_path / "p" / "slides" / "near.svs", picture, 20, .47)
    arguments = ["slide_processing/1main_processing.py", tmp_path / "p", "all", "--weights", "random"]
    done = run_script(*arguments)
    assert done.returncode == 1 and "error: 1 of 3 slides failed" in done.stderr
    assert "power says 20x, MPP says 43x: fill MPP or Magnification in metadata.csv" in done.stdout
    assert "1 slides: power and MPP differ by more than 5%, objective power of the slide is used: near" in done.stdout
    checked = run_script("data/check_project.py", tmp_path / "p").stdout
    assert "power says 20x, MPP says 43x" in checked
    assert "power and MPP of 1 slides differ by more than 5%: near" in checked
    assert run_script(*arguments[:2], "0", *arguments[3:], "--scale", "mpp").returncode == 0
    made = feature_file.read_attributes(tmp_path / "p" / "features" / "bad.h5")
    assert made["level0_tile_px"] == 1101 and made["scale_choice"] == "mpp"


def test_coarse_slides_are_foreseen(tmp_path, run_script):
    """Before anything is processed, and no more once such a slide was accepted, which the next command does, too."""
    picture = painted_slides.slide_picture(2, 2)
    painted_slides.make_project(tmp_path, {"coarse": picture, "coarser": picture, "good": picture})
    for name in ("coarse", "coarser"):
        painted_slides.write_svs(tmp_path / "slides" / f"{name}.svs", picture, power=10)
    checked = run_script("data/check_project.py", tmp_path).stdout
    assert "slides: 2 slides are too coarse: coarse, coarser; the slide was scanned at 10x (objective power of the " \
           "slide), tiles need 20x: take it out of metadata.csv, or accept blurred tiles with --allow-up" in checked
    slide_files.process(tmp_path, row_of("coarse", "coarse.svs", patient_id="P0"), MeanColour(), allow_upsampling=True)
    slides, = (state for state in project_states.of_project(tmp_path) if state.name == "slides")
    assert not slides.problems and "--allow-upsampling" in project_states.next_words(slides)


def test_slides_are_not_too_coarse_for_tiles_of_their_power(tmp_path):
    picture = painted_slides.slide_picture(2, 2)
    painted_slides.make_project(tmp_path, {"a": picture, "b": picture})
    for name in "ab":
        painted_slides.write_svs(tmp_path / "slides" / f"{name}.svs", picture, power=10)
    wanted = tiling.TileSettings(magnification=10)
    slide_files.process(tmp_path, row_of("a", "a.svs", patient_id="P0"), MeanColour(), wanted=wanted)
    slides, = (state for state in project_states.of_project(tmp_path) if state.name == "slides")
    assert not slides.problems and "--allow-upsampling" not in slides.options


def test_settings_of_tiles_are_recorded_and_used(tmp_path):
    painted_slides.write_svs(tmp_path / "slides" / "s.svs", painted_slides.slide_picture(2, 2), power=20)
    wanted = tiling.TileSettings(tile_px=256, magnification=10, normalisation="none")
    slide_files.process(tmp_path, row_of(), MeanColour(), wanted=wanted)
    made = feature_file.read_attributes(tmp_path / "features" / "s.h5")
    assert [made[name] for name in ("tile_px", "magnification", "normalisation", "level0_tile_px")] == [
        256, 10, "none", 512]
    with pytest.raises(ValueError, match="tile_px was 256, now 512"):
        slide_files.is_finished(tmp_path, row_of(), SETTINGS)


def test_numbers_that_do_not_fit_are_refused():
    values = np.array([[1., 2], [70_000, 3]], np.float32)
    with pytest.raises(ValueError, match="features of s do not fit float16: the largest is 70000.*use float32"):
        feature_file.stored(values, np.float16, "s")
    np.testing.assert_array_equal(feature_file.stored(values, np.float32, "s"), values)
    with pytest.raises(ValueError, match=r"NaN in 1 of 2 tiles\): use --precision bf16 or fp32"):
        feature_file.stored(np.array([[1., 2], [np.nan, 3]], np.float32), np.float32, "s")


def test_nan_features_fail_the_slide(tmp_path, monkeypatch):
    painted_slides.write_svs(tmp_path / "slides" / "s.svs", painted_slides.slide_picture(2, 2))
    encode = MeanColour.encode
    monkeypatch.setattr(MeanColour, "encode",
                        lambda self, tiles: (encode(self, tiles)[0] * np.nan, encode(self, tiles)[1]))
    with pytest.raises(ValueError, match="NaN in 4 of 4 tiles"):
        slide_files.process(tmp_path, row_of(), MeanColour())
    assert not (tmp_path / "features" / "s.h5").exists() and not (tmp_path / "mask" / "s.pdf").exists()


def test_means_are_those_of_what_is_stored(tmp_path):
    slides = pd.DataFrame({"slide_id": ["s"], "patient_id": ["p"]})
    features = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    features_writing.write(tmp_path / "f.h5", slides, [(features, None, None)], {"encoder": "e"}, np.float16)
    with h5py.File(tmp_path / "f.h5") as file:
        np.testing.assert_array_equal(file["mean_features"][0],
                                      file["features"][:].mean(axis=0, dtype=np.float64).astype(np.float32))


def test_the_same_scan_under_two_patients_is_refused(tmp_path, run_script):
    picture = painted_slides.slide_picture(2, 2)
    painted_slides.make_project(tmp_path / "p", {"a": picture, "b": picture})
    for i, slide_id in enumerate("ab"):
        slide_files.process(tmp_path / "p", row_of(slide_id, f"{slide_id}.svs", patient_id=f"P{i}"), MeanColour())
    done = run_script("slide_processing/collect_features.py", tmp_path / "p")
    assert done.returncode == 1 and "a of P0 and b of P1 are the same scan" in done.stderr
    assert "a of P0 and b of P1 are the same scan" in run_script("data/check_project.py", tmp_path / "p").stdout
    (tmp_path / "p" / "metadata.csv").write_text("Slide.ID,Filename,Patient.ID\na,a.svs,P0\nb,a.svs,P1\n")
    with pytest.raises(ValueError, match="a and b are the same file"):
        metadata_file.read(tmp_path / "p")


def test_non_square_pixels_are_refused(tmp_path):
    slides_of_files.write_mirax(tmp_path / "slides" / "x.mrxs", painted_slides.tissue(1024, 1024), mpp=(.5, .53))
    with pytest.raises(ValueError, match=r"not square \(x 0.5 um, y 0.53 um\)"):
        slide_files.process(tmp_path, row_of(filename="x.mrxs"), MeanColour())


def test_a_scan_that_a_patient_has_twice_is_told(caplog):
    with caplog.at_level("INFO"):
        features_writing.refuse_twins(["a", "b", "c"], ["P0", "P0", "P1"], ["same", "same", "other"])
    assert caplog.messages == ["a and b of P0 are the same scan (equal features), which counts twice: take one out of "
                               "metadata.csv"]
