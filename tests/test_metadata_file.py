"""metadata.csv: what is read, and what is refused with the row and a remedy."""
import math

import numpy as np
import pandas as pd
import pytest

from slide_ex.project import metadata_file


def table(tmp_path, text, **options):
    (tmp_path / "metadata.csv").write_text(text)
    return metadata_file.read(tmp_path, **options)


def test_columns_are_read_and_patients_found(tmp_path):
    slides = table(tmp_path, "Slide.ID,Filename,Patient.ID,Magnification,MPP,Ward\n"
                             "TCGA-AB-1234-01Z-00-DX1,a.svs,,40,,x\n007,b/c.ndpi,P7,,0.25,y\n")
    assert slides.slide_id.tolist() == ["TCGA-AB-1234-01Z-00-DX1", "007"]
    assert slides.patient_id.tolist() == ["TCGA-AB-1234", "P7"]
    np.testing.assert_array_equal(slides.magnification, [40, math.nan])
    np.testing.assert_array_equal(slides.mpp, [math.nan, 0.25])


def test_what_r_writes_for_a_missing_value_is_missing(tmp_path):
    slides = table(tmp_path, '"","Slide.ID","Filename","Patient.ID","Magnification","MPP","Mask"\n'
                             '"1","NA","a.svs","P1",NA,0.5,NA\n"2","b","b.svs","P2",20,N/A,"b.png"\n')
    np.testing.assert_array_equal(slides.magnification, [math.nan, 20])
    np.testing.assert_array_equal(slides.mpp, [.5, math.nan])
    assert slides.mask_file.tolist() == ["", "b.png"] and slides.slide_id.tolist() == ["NA", "b"]


@pytest.mark.parametrize("text, message", [
    ("Slide_ID,Filename\na,b\n", r"no column Slide.ID \(Slide_ID\?\), its columns are Slide_ID, Filename: rename one"),
    ("Slide.ID,File,Patient.ID\na,b,p\n", r"no column Filename \(File\?\)"),
    ("Slide.ID,Filename,Patient.ID\n", "lists no slides"),
    ("", "is no table of text .*: give one row a slide"),
    ("Slide.ID,Filename,Patient.ID\na,b,p\na,c,p\n", "must be unique, repeated: a"),
    ("Slide.ID,Filename,Patient.ID\n,b,p\n", "row 0 has no Slide.ID"),
    ("Slide.ID,Filename,Patient.ID\na,,p\n", "row 0 has no Filename"),
    ("Slide.ID,Filename,Patient.ID\na/b,c,p\n", "cannot be the name of a file"),
    ("Slide.ID,Filename,Patient.ID\n..,c,p\n", "cannot be the name of a file"),
    ("Slide.ID,Filename,Patient.ID\n.part-x,c,p\n", "cannot be the name of a file"),
    ("Slide.ID,Filename,Patient.ID\na,../c,p\n", "leaves the folder"),
    ("Slide.ID,Filename,Patient.ID\na,/etc/c,p\n", "leaves the folder"),
    ("Slide.ID,Filename,Patient.ID\na,c,p\nb,./c,q\n", "a and b are the same file"),
    ("Slide.ID,Filename\na,b\n", "no patient for 1 of 1 slides, a: add or fill the column Patient.ID"),
    ("Slide.ID,Filename,Patient.ID\na,a,p1\nb,b,NA\nc,c,NA\n", "no patient for 2 of 3 slides, b, c"),
    ("Slide.ID,Filename,Patient.ID\na,a,p1\nb,b,P1\n", "'P1' and 'p1' differ in case or blanks only"),
    ("Slide.ID,Filename,Patient.ID\na,a,TCGA-A1-A0SB\nb,b,TCGA-A1-A0SB-01A\n", r"01A \(TCGA-A1-A0SB\): one patient"),
    ("Slide.ID,Filename,Patient.ID,Magnification\na,b,p,20x\n", "Magnification of a is '20x'"),
    ("Slide.ID,Filename,Patient.ID,MPP\na,b,p,-1\n", "MPP of a is '-1'"),
])
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, text, needs_files=True)


def test_words_for_missing_values_are_none(tmp_path):
    """R writes NA for an empty cell."""
    found = table(tmp_path, "Slide.ID,Filename,Patient.ID,Magnification,MPP,Mask\n"
                            "a,a,p,NA,0.5,NA\nb,b,p,40,nan,b.png\n")
    assert np.isnan(found.magnification[0]) and np.isnan(found.mpp[1]) and found.mpp[0] == .5
    assert found.mask_file.tolist() == ["", "b.png"]


def test_files_are_needed_only_where_slides_are_read(tmp_path):
    assert table(tmp_path, "Slide.ID,Patient.ID\na,p\n").filename.tolist() == [""]
    assert table(tmp_path, "Slide.ID,Filename,Patient.ID\na,,p\nb,b.svs,p\n").filename.tolist() == ["", "b.svs"]


def test_what_is_written_is_read_again(tmp_path):
    slides = table(tmp_path, "Slide.ID,Filename,Patient.ID,MPP\n007,a.svs,P1,0.25\nb,b.svs,P2,\n")
    metadata_file.write(tmp_path / "metadata.csv", slides)
    assert (tmp_path / "metadata.csv").read_text().startswith("Slide.ID,Filename,Patient.ID,MPP\n")
    pd.testing.assert_frame_equal(metadata_file.read(tmp_path), slides)


def test_missing_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="metadata.csv is missing"):
        metadata_file.read(tmp_path)
