"""Laws of nested folds, strata and groups, imports, and every bad input of make_splits.py."""
import json
from collections import Counter

import pytest

import simulated_cohort
from slide_ex.project import features_file, splits_file
from training import patient_splits

SITES = "A2", "BH", "E9", "AR", "D8", "C8", "GM"
PATIENTS = [f"TCGA-{SITES[i % 7]}-{i:04d}" for i in range(60)]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return simulated_cohort.write(tmp_path_factory.mktemp("splits"))


def sides(splits):
    for fold in splits["outer"]:
        for inner in fold["inner"]:
            yield set(fold["test"]), set(inner["train"]), set(inner["valid"])


@pytest.mark.parametrize("options", [{}, {"strata": {patient: patient[-1] > "6" for patient in PATIENTS}},
                                     {"groups": patient_splits.sites(PATIENTS)}])
def test_every_patient_is_on_one_side_and_tested_once(options):
    splits = patient_splits.draw(PATIENTS, 5, 5, 42, **options)
    for test, train, valid in sides(splits):
        assert not (test & train or test & valid or train & valid) and test | train | valid == set(PATIENTS)
    assert Counter(p for fold in splits["outer"] for p in fold["test"]) == Counter(PATIENTS)
    for fold in splits["outer"]:
        validated = [p for inner in fold["inner"] for p in inner["valid"]]
        assert sorted(validated + fold["test"]) == sorted(PATIENTS)


def test_shares_are_64_16_20_percent_and_the_order_given_does_not_matter():
    splits = patient_splits.draw(PATIENTS, 5, 5, 42)
    assert all((len(test), len(valid)) in {(12, 9), (12, 10)} for test, _, valid in sides(splits))
    assert splits == patient_splits.draw(PATIENTS[::-1], 5, 5, 42) != patient_splits.draw(PATIENTS, 5, 5, 43)


def test_strata_are_shared_evenly():
    strata = {patient: str(i % 4 == 0) for i, patient in enumerate(PATIENTS)}
    for test, _, valid in sides(patient_splits.draw(PATIENTS, 5, 5, 42, strata)):
        assert sum(strata[p] == "True" for p in test) == 3 and 2 <= sum(strata[p] == "True" for p in valid) <= 3


def test_sites_are_never_on_two_sides():
    site = patient_splits.sites(PATIENTS)
    for parts in sides(patient_splits.draw(PATIENTS, 3, 3, 42, groups=site)):
        a, b, c = ({site[p] for p in part} for part in parts)
        assert not (a & b or a & c or b & c)


def test_too_few_patients_or_sites():
    with pytest.raises(ValueError, match="too few for 5 folds"):
        patient_splits.draw(PATIENTS[:4], 5, 5, 42)
    with pytest.raises(ValueError, match="too few for 8 folds"):
        patient_splits.draw(PATIENTS, 8, 2, 42, groups=patient_splits.sites(PATIENTS))
    with pytest.raises(ValueError, match="column Site"):
        patient_splits.sites(["P001"])


def test_import_of_ids_indexes_and_tables_is_the_same(project, tmp_path, caplog):
    caplog.set_level("INFO")
    slides = features_file.read_slides(project / "features.h5")
    patients = sorted(set(slides.patient_ids))
    drawn = patient_splits.draw(patients, 3, 2, 1)
    (tmp_path / "own.json").write_text(json.dumps(drawn))
    index = {p: [int(i) for i in slides.slide_indexes[slides.patient_ids == p]] for p in patients}
    lists = {"test": [[[i for p in fold["test"] for i in index[p]] for _ in fold["inner"]] for fold in drawn["outer"]]}
    lists |= {part: [[[i for p in inner[part] for i in index[p]] for inner in fold["inner"]] for fold in drawn["outer"]]
              for part in ("train", "valid")}
    (tmp_path / "indexes.json").write_text(json.dumps(lists))
    rows = [f"{k},{i},{part},{p}" for k, fold in enumerate(drawn["outer"]) for i, inner in enumerate(fold["inner"])
            for part, ids in {**inner, "test": fold["test"]}.items() for p in ids]
    (tmp_path / "table.csv").write_text("\n".join(["outer,inner,part,Patient.ID", *rows]))
    from_1 = [f"{int(row[0]) + 1}{row[1:]}" for row in rows]
    (tmp_path / "from_1.csv").write_text("\n".join(["outer,inner,part,Patient.ID", *from_1]))
    for name in ("own.json", "indexes.json", "table.csv", "from_1.csv"):
        splits = patient_splits.from_table(tmp_path / name, slides, patients)
        assert splits["outer"] == drawn["outer"] and splits["patients"] == patients
        splits_file.check(splits, name)
    told = [line for line in caplog.messages if "folds" in line]
    assert told == ["from_1.csv: the outer folds 1, 2, 3 have numbers from 0 here, in their order"]


@pytest.mark.parametrize("change, words", [
    (lambda rows: [row.replace("train", "Train") for row in rows], "part holds 'Train'"),
    (lambda rows: [*rows, "0,0,holdout,P000"], "part holds 'holdout'"),
    (lambda rows: [row.replace("P0", "Q0") for row in rows], r"names no patient that has .*Q000 \(P000\?\)")])
def test_an_import_of_other_words_or_ids_is_refused(project, tmp_path, change, words):
    slides = features_file.read_slides(project / "features.h5")
    patients = sorted(set(slides.patient_ids))
    rows = [f"{k},{i},{part},{p}" for k, fold in enumerate(patient_splits.draw(patients, 3, 2, 1)["outer"])
            for i, inner in enumerate(fold["inner"]) for part, ids in {**inner, "test": fold["test"]}.items()
            for p in ids]
    (tmp_path / "table.csv").write_text("\n".join(["outer,inner,part,Patient.ID", *change(rows)]))
    with pytest.raises(ValueError, match=words):
        patient_splits.from_table(tmp_path / "table.csv", slides, patients)


@pytest.mark.parametrize("spoil, words", [
    (lambda lists: lists["valid"].pop(), r"valid \[2, 2\]; test \[2, 2, 2\]"),
    (lambda lists: lists["train"][1].pop(), r"train \[2, 1, 2\]"),
    (lambda lists: lists["test"][2][1].pop(), "outer fold 2 have different test parts")])
def test_an_import_of_uneven_lists_is_refused(project, tmp_path, spoil, words):
    slides = features_file.read_slides(project / "features.h5")
    patients = sorted(set(slides.patient_ids))
    outer = patient_splits.draw(patients, 3, 2, 1)["outer"]
    lists = {"test": [[list(fold["test"]) for _ in fold["inner"]] for fold in outer],
             **{part: [[inner[part] for inner in fold["inner"]] for fold in outer] for part in ("train", "valid")}}
    spoil(lists)
    (tmp_path / "lists.json").write_text(json.dumps(lists))
    with pytest.raises(ValueError, match=words):
        patient_splits.from_table(tmp_path / "lists.json", slides, patients)


def test_sites_in_two_spellings_are_refused(run_script, tmp_path):
    project = simulated_cohort.write(tmp_path)
    (project / "clinical.csv").write_text("\n".join(["Patient.ID,Site", *(
        f"P{i:03d},{'Köln,köln,Bonn,Ulm'.split(',')[i % 4]}" for i in range(40))]))
    refused = run_script("prediction/make_splits.py", project, "--group-by", "site", "--outer", 2, "--inner", 2)
    assert refused.returncode == 1 and "'Köln' and 'köln' differ in case" in refused.stderr


def test_a_patient_on_two_sides_is_refused():
    splits = patient_splits.draw(PATIENTS, 3, 2, 1)
    splits["outer"][0]["inner"][1]["train"].append(splits["outer"][0]["test"][0])
    with pytest.raises(ValueError, match="fold 0 1 has a patient on two sides"):
        splits_file.check(splits, "splits.json")


def test_script_draws_once_and_refuses_other_folds(run_script, project):
    first = run_script("prediction/make_splits.py", project, "--stratify", "response")
    assert first.returncode == 0, first.stderr
    drawn = (project / "splits.json").read_text()
    assert "finished" in run_script("prediction/make_splits.py", project, "--stratify", "response").stdout
    other = run_script("prediction/make_splits.py", project, "--seed", 1)
    assert other.returncode != 0 and "draw new ones with --overwrite" in other.stderr
    assert "Traceback" not in other.stderr and (project / "splits.json").read_text() == drawn
    pickled = run_script("prediction/make_splits.py", project, "--import", project / "train_valid_test_idx.npz")
    assert pickled.returncode != 0 and "not from pickled arrays" in pickled.stderr


def test_parts_without_a_correlation_are_refused(run_script, tmp_path):
    project = simulated_cohort.write(tmp_path, n_patients=14)
    refused = run_script("prediction/make_splits.py", project)  # 11 patients in 5 inner folds
    assert refused.returncode == 1 and "2 patients in the valid part of fold 0 1" in refused.stderr
    assert "--inner (now 5)" in refused.stderr and len(refused.stderr.splitlines()) == 1
    assert not (project / "splits.json").exists()
    assert run_script("prediction/make_splits.py", project, "--inner", 3).returncode == 0


@pytest.mark.parametrize("responses, is_warned", [(["pCR", *["RD"] * 39], True), (["pCR", "RD"] * 20, False),
                                                  ([], False)])
def test_parts_of_one_class_are_said(run_script, tmp_path, responses, is_warned):
    project = simulated_cohort.write(tmp_path)
    (project / "clinical.csv").write_text("\n".join(["Patient.ID,Response", *(
        f"P{i:03d},{response}" for i, response in enumerate(responses))]))
    done = run_script("prediction/make_splits.py", project, "--outer", 3, "--inner", 2, "--stratify", "response")
    assert done.returncode == 0, done.stderr
    assert ("no pCR or no RD in" in done.stdout and "of fold 0 0" in done.stdout) == is_warned
