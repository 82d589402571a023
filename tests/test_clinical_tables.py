"""clinical.csv as people have it: missing words, quoted headers, words of other trials."""
import json

import pandas as pd
import pytest

import simulated_cohort
from response import feature_sets
from slide_ex.project import clinical_file, clinical_words, description_file


def write(folder, text, encoding="utf-8"):
    path = folder / "clinical.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("word", ["NA", "N/A", "'--", "--", "[Not Available]", "[not applicable]", "NaN", "<NA>",
                                  "#N/A", "Not Reported", "unknown", "[Discrepancy]", ".", "", "NULL", "[Completed]"])
def test_words_for_missing_in_every_column(tmp_path, word):
    path = write(tmp_path, f"Patient.ID,Response,Site,Age\nP1,pCR,A,50\nP2,{word},{word},{word}\nP3,RD,B,61\n")
    assert clinical_file.known_responses(path) == {"P1": 1, "P3": 0}
    assert clinical_file.read_column(path, "Site")["P2"] == ""
    ages = clinical_words.as_numbers(pd.Series(clinical_file.read_column(path, "Age")), "Age", path)
    assert ages.isna().tolist() == [False, True, False]


@pytest.mark.parametrize("word", ["none", "no", "negative", "0", "Completed", "N0", "NAC"])
def test_words_that_are_values(word):
    assert not clinical_words.is_missing(word)


def test_minus_is_negative_beside_plus_alone():
    assert clinical_words.without_missing(pd.Series(["+", "-", "", "NA"])).tolist() == ["+", "-", "", ""]
    assert clinical_words.without_missing(pd.Series(["1+", "-", "3+"])).tolist() == ["1+", "", "3+"]


def test_one_missing_age_makes_no_categories():
    ages = [str(age) for age in range(40, 60)]
    table = pd.DataFrame({"age": clinical_words.without_missing(pd.Series([*ages, "NA"]))})
    train, new = feature_sets.as_numbers(table, table)
    assert list(train) == ["age"] and train["age"].isna().sum() == 1 and new["age"].equals(train["age"])


@pytest.mark.parametrize("values, words", [
    ([*map(str, range(40, 60)), ">89", "adult"], r"2 \('>89', 'adult'\) that are none"),
    ([*map(str, range(40, 60)), "inf"], r"1 \('inf'\) that are none"),
    (["Positive", "positive", "NEG"] * 6, "'Positive' and 'positive' differ in case or blanks only"),
    ([f"ward {i}" for i in range(12)], "12 different words in 12 patients"),
    ([f"{i},5" for i in range(12)], "decimal point")])
def test_columns_that_are_neither_numbers_nor_categories(values, words):
    with pytest.raises(ValueError, match=words):
        clinical_words.as_numbers(pd.Series(values), "age", "clinical.csv")


def test_categories_stay_categories():
    table = pd.DataFrame({"stage": ["I", "II", "II", "I", "", "III"] * 3})
    train, _ = feature_sets.as_numbers(table, table.iloc[:4])
    assert list(train) == ["stage=I", "stage=II", "stage=III"] and train["stage=I"].sum() == 6


def test_categories_that_training_does_not_know_are_said(caplog):
    train = pd.DataFrame({"stage": ["I", "II"] * 6})
    with caplog.at_level("INFO"):
        _, new = feature_sets.as_numbers(train, pd.DataFrame({"stage": ["I", "IV"]}))
    assert "stage holds words that training does not know: IV" in caplog.text and new.sum().sum() == 1


@pytest.mark.parametrize("text, encoding", [
    ('"Patient.ID","Response","Site"\n"P1","pCR","A"\n"P2","RD","B"\n', "utf-8"),    # R, without names of rows
    ('"","Patient.ID","Response","Site"\n"1","P1","pCR","A"\n"2","P2","RD","B"\n', "utf-8"),    # R, write.csv
    ("Patient.ID;Response;Site\nP1;pCR;A\nP2;RD;B\n", "cp1252"),
    ("Patient.ID\tResponse\tSite\nP1\tpCR\tA\nP2\tRD\tB\n", "utf-16"),
    ("Patient.ID,Response,Site,,\nP1,pCR,A,,\nP2,RD,B,,\n,,,,\n", "utf-8-sig")])
def test_layouts_of_the_table(tmp_path, text, encoding):
    path = write(tmp_path, text, encoding)
    assert clinical_file.read_column(path, "Site") == {"P1": "A", "P2": "B"}
    assert clinical_file.has_column(path, "Response")
    assert clinical_file.read_responses(path) == {"P1": "pCR", "P2": "RD"}


@pytest.mark.parametrize("text, words", [
    ("Patient.ID,Response,Response\nP1,pCR,RD\n", "twice: Response"),
    ("Patient.ID,Response\nP1\n", "row 2 has 1 cells"),
    ("Patient.ID,Response\nP1,pCR\nP2,RD,x\n", "row 3 has 3 cells"),
    ("Patient.ID,Response\nP1,pCR\nP1,RD\n", "more than one row"),
    ("Patient.ID,Response\n,pCR\n", "without Patient.ID"),
    ("Patient.ID,Response\nP1,pcr\n", "pcr .pCR.. is not pCR, RD or empty.*--responders")])
def test_what_is_refused(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        clinical_file.read_responses(write(tmp_path, text))


TRIAL = "Patient.ID,RCB,Site\n" + "".join(f"P{i:03d},{word},{'AB'[i % 2]}\n" for i, word in enumerate(
    ["pCR", "RCB-0", "RCB-II", "RCB-III", "NA"] * 12))


def test_other_words_are_said_once(tmp_path):
    path = write(tmp_path, TRIAL)
    (tmp_path / "project.json").write_text('{"response_column": "RCB", "responders": ["pCR", "RCB-0"], '
                                           '"non_responders": ["RCB-II", "RCB-III"]}')
    known = clinical_file.known_responses(path)
    assert len(known) == 48 and sum(known.values()) == 24 and known["P001"] == 1 and known["P002"] == 0
    assert set(clinical_file.read_responses(path).values()) == {"pCR or RCB-0", "RCB-II or RCB-III", ""}
    for broken in ('{"responders": ["pCR"], "non_responders": ["pCR"]}', '{"responders": ["NA"]}'):
        (tmp_path / "project.json").write_text(broken)
        with pytest.raises(ValueError, match="two lists of different words"):
            description_file.read(tmp_path)


@pytest.mark.parametrize("content, words", [
    ('{"responders": "pCR"}', "responders is 'pCR', and should be a list of words"),
    ('{"non_responders": ["RD", 3]}', "non_responders is .* should be a list of words"),
    ('{"tissue": ["lung"]}', "tissue is .* should be a text"),
    ('{"responder": ["CR"], "tissue": "lung"}', "'responder' is no entry; there are tissue, response_column")])
def test_entries_that_would_be_misread_are_refused(tmp_path, content, words):
    (tmp_path / "project.json").write_text(content)
    with pytest.raises(ValueError, match=words):
        description_file.read(tmp_path)


def test_a_quoted_header_groups_by_its_site_and_its_words(tmp_path, run_script):
    """The header that hid Site and Response, so that folds were drawn by the site of the barcode."""
    project = simulated_cohort.write(tmp_path / "cohort")
    patients = sorted({f"P{i:03d}" for i in range(60)})
    table = pd.DataFrame({"Patient.ID": patients, "RCB": ["RCB-0", "RCB-I", "NA"] * 20,
                          "Site": [f"hospital {i % 6}" for i in range(60)]})
    table.to_csv(project / "clinical.csv", index=False, quoting=1)
    more = ["--outer", 2, "--inner", 2, "--stratify", "response"]
    done = run_script("prediction/make_splits.py", project, *more, "--response-column", "RCB")
    assert done.returncode == 1 and "RCB-0" in done.stderr and "--responders" in done.stderr
    more += ["--response-column", "RCB", "--responders", "RCB-0", "--non-responders", "RCB-I", "--group-by", "site"]
    done = run_script("prediction/make_splits.py", project, *more)
    assert done.returncode == 0, done.stderr
    site = dict(zip(table["Patient.ID"], table["Site"]))
    folds = json.loads((project / "splits.json").read_text())
    sides = [{site[patient] for patient in fold["test"]} for fold in folds["outer"]]
    assert not sides[0] & sides[1]
    done = run_script("prediction/make_splits.py", project, "--responders", "RCB-I")
    assert done.returncode == 1 and "responders was" in done.stderr and "--overwrite" in done.stderr
