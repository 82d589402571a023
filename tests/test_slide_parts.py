"""Slides of several files are linked, opened, measured and missed as a whole; files that are no slides are named."""
import shutil
import unicodedata

import cv2
import numpy as np
import pytest
import slides_of_files
import tifffile
from conftest import ROOT
from test_extraction import MeanColour
from test_slide_scale import SETTINGS, row_of

import painted_slides
from slide_ex.project import feature_file
from slide_ex.slides import files, opening
from tiles import slide_files

SERIES = "1.2.3.4"
RESAMPLED = "DERIVED\\PRIMARY\\VOLUME\\RESAMPLED"


@pytest.fixture(scope="module")
def picture():
    return painted_slides.tissue(1024, 1024)


def write_series(folder, picture, series=SERIES):
    """Two levels, named so that the name does not tell."""
    slides_of_files.write_dicom(folder / "b7.dcm", picture, .25, series, 1)
    slides_of_files.write_dicom(folder / "a1.dcm", cv2.resize(picture, None, fx=.25, fy=.25), 1., series, 2,
                                image_type=RESAMPLED)


def made_of(project):
    return feature_file.read_attributes(project / "features" / "s.h5")


def test_mirax_is_linked_with_its_folder(tmp_path, picture, run_script):
    slides_of_files.write_mirax(tmp_path / "scans" / "x.mrxs", picture)
    (tmp_path / "t.csv").write_text("Filename,Patient.ID,Slide.ID\nx.mrxs,P,s\n")
    arguments = ["data/prepare_cohort.py", tmp_path / "p", "--table", tmp_path / "t.csv", "--slides",
                 tmp_path / "scans"]
    assert run_script(*arguments).returncode == 0
    assert slide_files.process(tmp_path / "p", row_of(filename="x.mrxs"), MeanColour())["tiles"] == 4
    parts = [tmp_path / "scans" / "x.mrxs", *(tmp_path / "scans" / "x").iterdir()]
    assert made_of(tmp_path / "p")["slide_bytes"] == sum(part.stat().st_size for part in parts)
    assert "skipped" in run_script(*arguments).stdout
    shutil.rmtree(tmp_path / "scans" / "x")
    done = run_script(*arguments, "--overwrite")
    assert done.returncode == 1 and "the folder x/ that belongs to x.mrxs is not beside it" in done.stderr


def test_any_part_that_changes_makes_another_slide(tmp_path, picture):
    slides_of_files.write_mirax(tmp_path / "slides" / "x.mrxs", picture)
    row = row_of(filename="x.mrxs")
    slide_files.process(tmp_path, row, MeanColour())
    assert slide_files.is_finished(tmp_path, row, SETTINGS)
    with open(tmp_path / "slides" / "x" / "Data0000.dat", "ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match="slide_bytes was"):
        slide_files.is_finished(tmp_path, row, SETTINGS)


@pytest.mark.parametrize("filename", ["S2/b7.dcm", "S2/a1.dcm", "S2"])
def test_any_instance_or_the_folder_opens_a_series_at_its_finest_level(tmp_path, picture, run_script, filename):
    write_series(tmp_path / "scans" / "S2", picture)
    (tmp_path / "t.csv").write_text(f"Filename,Patient.ID,Slide.ID\n{filename},P,s\n")
    done = run_script("data/prepare_cohort.py", tmp_path / "p", "--table", tmp_path / "t.csv", "--slides",
                      tmp_path / "scans")
    assert done.returncode == 0, done.stderr
    slide_files.process(tmp_path / "p", row_of(filename=filename), MeanColour())
    made = made_of(tmp_path / "p")
    assert (made["level0_width"], made["level0_tile_px"]) == (1024, 1024)
    assert made["slide_bytes"] == sum(path.stat().st_size for path in (tmp_path / "scans" / "S2").iterdir())


def test_a_link_to_a_slide_that_was_moved_is_called_that(tmp_path):
    (tmp_path / "a.svs").symlink_to(tmp_path / "gone" / "a.svs")
    with pytest.raises(FileNotFoundError, match="a.svs is a link to .*gone/a.svs, which is not there: bring that back"):
        opening.open_slide(tmp_path / "a.svs")
    with pytest.raises(FileNotFoundError, match="b.svs is missing: check Filename in metadata.csv"):
        opening.open_slide(tmp_path / "b.svs")


def test_a_coarse_level_is_never_level_0(tmp_path, picture):
    """Not even where the table says its scale, which would hide the contradiction of power and MPP."""
    write_series(tmp_path / "slides", picture)
    (tmp_path / "slides" / "b7.dcm").unlink()
    for statement in ({}, {"magnification": 40.}, {"mpp": 1.}):
        with pytest.raises(ValueError, match="coarse level of its DICOM series"):
            slide_files.process(tmp_path, row_of(filename="a1.dcm", **statement), MeanColour(), allow_upsampling=True)


def test_two_series_in_a_folder_are_two_slides(tmp_path, picture):
    write_series(tmp_path / "S", picture)
    slides_of_files.write_dicom(tmp_path / "S" / "c.dcm", picture, .25, "1.2.3.5", 1)
    assert [path.name for path in files.of_slide(tmp_path / "S" / "b7.dcm")] == ["a1.dcm", "b7.dcm"]
    with pytest.raises(ValueError, match="holds 2 slides or DICOM series"):
        files.of_slide(tmp_path / "S")


def test_vms_names_its_files(tmp_path):
    text = "[Virtual Microscope Specimen]\nNoLayers=1\nImageFile=x.jpg\nImageFile(1,0)=x(1,0).jpg\nMapFile=x_map.jpg\n"
    for name in ("x.jpg", "x(1,0).jpg", "x_map.jpg"):
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "x.vms").write_text(text)
    assert len(files.to_link(tmp_path / "x.vms")) == 4 and files.identity(tmp_path / "x.vms")["slide_bytes"] > 15
    (tmp_path / "x_map.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="1 files that belong to x.vms are not beside it: x_map.jpg"):
        files.of_slide(tmp_path / "x.vms")


@pytest.mark.parametrize("on_disk, in_table", [("NFD", "NFC"), ("NFC", "NFD")])
def test_composed_and_decomposed_letters_are_the_same(tmp_path, run_script, on_disk, in_table):
    name = "Müller/Präparat é.svs"
    painted_slides.write_svs(tmp_path / "scans" / unicodedata.normalize(on_disk, name),
                             painted_slides.slide_picture(1, 1))
    (tmp_path / "t.csv").write_text(f"Filename,Patient.ID,Slide.ID\n{unicodedata.normalize(in_table, name)},P,s\n",
                                    encoding="utf-8")
    done = run_script("data/prepare_cohort.py", tmp_path / "p", "--table", tmp_path / "t.csv", "--slides",
                      tmp_path / "scans")
    assert done.returncode == 0, done.stderr
    slide_files.process(tmp_path / "p", row_of(filename=unicodedata.normalize(on_disk, name)), MeanColour())
    assert slide_files.is_finished(tmp_path / "p", row_of(filename=unicodedata.normalize(in_table, name)), SETTINGS)


def write_tiff(path, picture, **options):
    tifffile.imwrite(path, picture, photometric="rgb", metadata=None, **options)


@pytest.mark.parametrize("make, message", [
    (lambda path, _: path.write_bytes(b""), r"is empty \(0 bytes\): copy or download it again"),
    (lambda path, _: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "git lfs pull"),
    (lambda path, _: path.write_text("<!DOCTYPE html><html>log in</html>"), "is a web page"),
    (lambda path, picture: cv2.imwrite(f"{path}.png", picture) and shutil.move(f"{path}.png", path),
     "plain image .PNG"),
    (lambda path, picture: path.write_bytes(slides_of_files.jpeg(picture)), "plain image .JPEG"),
    (lambda path, picture: write_tiff(path, picture), "TIFF in strips, not in tiles"),
    (lambda path, _: path.write_bytes(b"no slide"), "begins like no format")])
def test_a_file_that_is_no_slide_is_named_with_the_cure(tmp_path, picture, make, message):
    make(tmp_path / "x.svs", picture)
    with pytest.raises(ValueError, match=message):
        opening.open_slide(tmp_path / "x.svs")


@pytest.mark.parametrize("share", [.3, .6, .95])
def test_half_a_download_is_called_that(tmp_path, picture, share):
    """Wherever the file ends: before its directory, or after it and before the pixels."""
    path = tmp_path / "slides" / "s.svs"
    painted_slides.write_svs(path, picture, power=20)
    path.write_bytes(path.read_bytes()[:int(share * path.stat().st_size)])
    with pytest.raises((ValueError, OSError), match="is cut off .* download or copy it again"):
        slide_files.process(tmp_path, row_of(), MeanColour())


@pytest.fixture
def cases():
    folder = ROOT.parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip("no ../shared/cases beside the project")
    return folder


@pytest.mark.parametrize("filename, n_tiles, size", [("S1.mrxs", 16, 2048), ("S2/b7.dcm", 1, 1024),
                                                     ("S2/a1.dcm", 1, 1024), ("S2", 1, 1024)])
def test_cases_of_others(cases, tmp_path, filename, n_tiles, size):
    (tmp_path / "slides").symlink_to(cases)
    counts = slide_files.process(tmp_path, row_of(filename=filename), MeanColour())
    assert counts["tiles"] == n_tiles and made_of(tmp_path)["level0_width"] == size


def test_case_of_a_coarse_level_alone(cases, tmp_path):
    (tmp_path / "slides").mkdir()
    shutil.copy(cases / "S2" / "a1.dcm", tmp_path / "slides")
    with pytest.raises(ValueError, match="coarse level"):
        slide_files.process(tmp_path, row_of(filename="a1.dcm", magnification=40.), MeanColour())
    assert not np.any([path.suffix == ".h5" for path in tmp_path.rglob("*")])
