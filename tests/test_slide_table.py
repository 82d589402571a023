"""metadata.csv, slide indexes, magnification."""
import math

import numpy as np
import pytest

from slide_ex.ids import format_indexes, parse_indexes
from slide_ex.project import metadata_file


def table(tmp_path, text):
    (tmp_path / "metadata.csv").write_text(text)
    return metadata_file.read(tmp_path)


def test_columns_are_read_and_patients_found(tmp_path):
    slides = table(tmp_path, "Slide.ID,Filename,Patient.ID,Magnification,MPP,Ward\n"
                             "TCGA-AB-1234-01Z-00-DX1,a.svs,,40,,x\n007,b/c.ndpi,P7,,0.25,y\n")
    assert slides.slide_id.tolist() == ["TCGA-AB-1234-01Z-00-DX1", "007"]
    assert slides.patient_id.tolist() == ["TCGA-AB-1234", "P7"]
    np.testing.assert_array_equal(slides.magnification, [40, math.nan])
    np.testing.assert_array_equal(slides.mpp, [math.nan, 0.25])


@pytest.mark.parametrize("text, message", [
    ("Slide_ID,Filename\na,b\n", "no column Slide.ID: rename 'Slide_ID'"),
    ("Slide.ID,File\na,b\n", "no column Filename"),
    ("Slide.ID,Filename,Patient.ID\n", "lists no slides"),
    ("", "not a comma-separated table"),
    ("Slide.ID,Filename,Patient.ID\na,b,p\na,c,p\n", "must be unique, repeated: a"),
    ("Slide.ID,Filename,Patient.ID\n,b,p\n", "row 0 has no Slide.ID"),
    ("Slide.ID,Filename,Patient.ID\na,,p\n", "row 0 has no Filename"),
    ("Slide.ID,Filename,Patient.ID\na/b,c,p\n", "cannot be the name of a file"),
    ("Slide.ID,Filename,Patient.ID\n..,c,p\n", "cannot be the name of a file"),
    ("Slide.ID,Filename,Patient.ID\n.part-x,c,p\n", "cannot be the name of a file"),
    ("Slide.ID,Filename,Patient.ID\na,../c,p\n", "leaves the folder"),
    ("Slide.ID,Filename,Patient.ID\na,/etc/c,p\n", "leaves the folder"),
    ("Slide.ID,Filename\na,b\n", "add .or fill. the column Patient.ID"),
    ("Slide.ID,Filename,Patient.ID,Magnification\na,b,p,20x\n", "Magnification of a is '20x'"),
    ("Slide.ID,Filename,Patient.ID,MPP\na,b,p,-1\n", "MPP of a is '-1'"),
])
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, text)


def test_missing_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="metadata.csv is missing"):
        metadata_file.read(tmp_path)


@pytest.mark.parametrize("text, indexes", [("all", range(15)), ("3", [3]), ("0-2,12", [0, 1, 2, 12]),
                                           ("4-5", [4, 5]), ("2,0-3", [0, 1, 2, 3])])
def test_indexes(text, indexes):
    assert parse_indexes(text, 15) == list(indexes)


@pytest.mark.parametrize("text", ["", "15", "3-1", "-1", "a", "1,", "0-15", "1.5", "9999999"])
def test_bad_indexes(text):
    with pytest.raises(ValueError, match="slide index"):
        parse_indexes(text, 15)


@pytest.mark.parametrize("seed", range(20))
def test_indexes_can_be_pasted_back(seed):
    rng = np.random.default_rng(seed)
    indexes = sorted(rng.choice(50, rng.integers(1, 50), replace=False).tolist())
    assert parse_indexes(format_indexes(indexes), 50) == indexes
