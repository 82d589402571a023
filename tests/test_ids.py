"""Ids: what may become the name of a file or a cell type, what is alike, ranges of slides that can be pasted back."""
import numpy as np
import pytest

from slide_ex import ids

SLIDES = [f"S{i}" for i in range(15)]


def test_lists_say_how_many_more():
    assert ids.some("ABC", 3) == "A, B, C" and ids.some("ABCDE", 2) == "A, B and 3 more"
    assert ids.counted("ABCDEFGHI") == "9 (A, B, C and 6 more)"
    assert ids.with_near_matches(["P-01", "X", "P_3"], ["P01", "P3"], 2) == "P-01 (P01?), X and 1 more"
    samples = ["TCGA-A1-A0SD-01A", "TCGA-A1-A0SB-01A"]
    assert ids.nearest("TCGA-A1-A0SB", samples) == samples[1] and ids.nearest("P1", ["P12", "P1_tumour"]) == "P1_tumour"
    assert ids.nearest("TCGA-A1-A0SB-01A-11R", samples) == samples[1]


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "a/b", "a\\b", "..", ".hidden", "a\nb", "a\x00b", "é" * 101])
def test_names_that_are_no_file_names_are_refused(name):
    with pytest.raises(ValueError, match="table.csv: Slide.ID .* cannot be the name of a file: "):
        ids.refuse_unsafe(["good", name], "Slide.ID", "table.csv")


def test_safe_names_pass():
    names = ["a", "a b", "T-cells", "a..b", "é" * 100, "CD4+ T", "a,b", "<b>"]
    ids.refuse_unsafe(names, "Slide.ID", "table.csv")


@pytest.mark.parametrize("filename, leaves", [
    ("a.svs", False), ("b/a.svs", False), ("a..b.svs", False), ("/a", True), ("\\a", True), ("../a", True),
    ("b/../../a", True), ("b\\..\\a", True), ("a\0", True)])
def test_paths_that_lead_out_of_their_folder_are_known(filename, leaves):
    assert ids.leaves_folder(filename) == leaves


@pytest.mark.parametrize("names, message", [
    (["CAFs", "Abundance"], "'Abundance' is the name of something else here: rename it"),
    (["DIRECT"], "'DIRECT' is the name of something else"), (["Bulk"], "'Bulk' is the name of something else"),
    (["all"], "'all' is the name of something else"), (["Top Triple"], "'Top Triple' is the name of something else"),
    (["CAFs + B-cells"], "'CAFs [+] B-cells': ' [+] ' joins the members of an ensemble; rename it"),
    (["T-cells", "CAFs", "T-Cells"], "'T-cells' and 'T-Cells' differ in case only: rename one"),
    (["T" * 201], "cannot be the name of a file: it is longer than 200 bytes"),
    (["T/NK"], "'T/NK' cannot be the name of a file: use no slashes"), ([""], "it is empty")])
def test_names_that_are_no_cell_types_are_refused(names, message):
    with pytest.raises(ValueError, match=f"^signature.tsv: cell types? .*{message}"):
        ids.refuse_cell_types(names, "signature.tsv")


def test_names_of_cell_types_pass():
    ids.refuse_cell_types(["CAFs", "Cancer Epithelial", "CD4+ T", "T" * 200, "bulky"], "signature.tsv")
    ids.refuse_cell_types(["CAFs", ids.BULK], "signature.tsv", allowed=[ids.BULK])
    with pytest.raises(ValueError, match="'bulk'"):     # allowed as it is written, and in no other case
        ids.refuse_cell_types(["bulk"], "signature.tsv", allowed=[ids.BULK])


def test_a_real_name_wins_over_a_short_form():
    assert ids.cell_type("Cancer", ["Cancer Epithelial"]) == "Cancer Epithelial"
    assert ids.cell_type("Cancer", ["Cancer Epithelial", "Cancer"]) == "Cancer"
    assert ids.cell_type("CAFs", ["Cancer Epithelial"]) == "CAFs"


@pytest.mark.parametrize("text, patient", [
    ("TCGA-A1-A0SB-01Z-00-DX1", "TCGA-A1-A0SB"), ("TCGA-A1-A0SB", "TCGA-A1-A0SB"), ("TCGA-A1-A0SBX-01", ""),
    ("tcga-a1-a0sb", ""), ("XTCGA-A1-A0SB", ""), ("P01", "")])
def test_patients_of_barcodes(text, patient):
    assert ids.tcga_patient(text) == patient and ids.tcga_site(text) == ("A1" if patient else "")


@pytest.mark.parametrize("text, indexes", [
    ("all", range(15)), ("3", [3]), ("0-2,12", [0, 1, 2, 12]), ("4-5", [4, 5]), ("2,0-3", [0, 1, 2, 3]),
    (" 1 , 2 ", [1, 2]), ("S3", [3]), ("S3,S1,7-8,S3", [1, 3, 7, 8])])
def test_indexes(text, indexes):
    assert ids.parse_indexes(text, SLIDES) == list(indexes)


def test_ids_that_look_like_lists_and_numbers(caplog):
    assert ids.parse_indexes("a,b", ["x", "a,b"]) == [1]
    assert ids.parse_indexes("0", ["0", "1"]) == [0] and ids.parse_indexes("0-1", ["1", "0"]) == [0, 1]
    assert not caplog.messages
    assert ids.parse_indexes("1", ["1", "0"]) == [1]    # a number is always an index
    assert caplog.messages == ["1 is taken as a row of metadata.csv, slide 0; the slide whose Slide.ID is 1 is row 0"]


@pytest.mark.parametrize("text", ["", "15", "3-1", "-1", "a", "1,", "0-15", "1.5", "9999999", "S15", "S1-S3"])
def test_bad_indexes(text):
    with pytest.raises(ValueError, match="slide index .*metadata.csv has 15 slides, 0-14"):
        ids.parse_indexes(text, SLIDES)


def test_an_id_that_is_misspelt_is_shown_as_it_should_be():
    with pytest.raises(ValueError, match=r"'s-03' is not understood: .* or a Slide.ID \(S3\?\)"):
        ids.parse_indexes("0,s-03", SLIDES)


@pytest.mark.parametrize("seed", range(20))
def test_indexes_can_be_pasted_back(seed):
    rng = np.random.default_rng(seed)
    indexes = sorted(rng.choice(50, rng.integers(1, 50), replace=False).tolist())
    assert ids.parse_indexes(ids.format_indexes(indexes), [f"S{i}" for i in range(50)]) == indexes
