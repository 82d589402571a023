"""A project of the published scripts, built here as they write it, is taken over; its models predict the same."""
import json
import pickle
import shlex
import shutil
import types

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from next_commands import follow
from torch import nn

from original import row_join
from slide_ex.project import features_file, splits_file, targets_file
from training import mlp, pooling

CELL_TYPES = ["Cancer Epithelial", "T-cells"]
N_FEATURES, N_HIDDEN, N_PATIENTS = 6, 5, 20


class PublishedModel(nn.Module):
    """The published network, as far as it matters for what is stored: layer0 per tile, layer1, mean over tiles."""

    def __init__(self, n_outputs, relu):
        super().__init__()
        layers = [nn.Linear(N_FEATURES, N_HIDDEN), *([nn.ReLU()] if relu else []), nn.Dropout(.2)]
        self.layer0, self.layer1 = nn.Sequential(*layers), nn.Linear(N_HIDDEN, n_outputs)

    def forward(self, x):
        return self.layer1(self.layer0(x)).mean(dim=0)


def published_folds(patients, random):
    """Row numbers as the published scripts store them: 2 x 2 folds by patient."""
    rows_of = {patient: np.flatnonzero(patients == patient) for patient in np.unique(patients)}
    shuffled = random.permutation(np.unique(patients))
    parts = [np.concatenate([rows_of[p] for p in part]) for part in np.array_split(shuffled, 4)]
    tests = [np.concatenate(parts[:2]), np.concatenate(parts[2:])]
    idx = {name: np.empty((2, 2), object) for name in ("train_idx", "valid_idx")}
    for k, i in np.ndindex(2, 2):
        rest = parts[2:] if k == 0 else parts[:2]
        idx["train_idx"][k, i], idx["valid_idx"][k, i] = rest[i], rest[1 - i]
    idx["test_idx"] = np.empty(2, object)
    idx["test_idx"][:] = tests
    return idx


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """An original project: 20 patients, 22 slides, 2 cell types with 3 and 4 genes, 2 x 2 folds."""
    folder, random = tmp_path_factory.mktemp("original"), np.random.default_rng(0)
    torch.manual_seed(0)
    patients = np.array([f"TCGA-A1-{i:04d}" for i in [*range(N_PATIENTS), 3, 7]])
    slides = np.array([f"{patient}-01Z-00-DX{1 + (i >= N_PATIENTS)}" for i, patient in enumerate(patients)])
    pd.DataFrame({"Slide.ID": slides, "Filename": [f"{slide}.svs" for slide in slides]}).to_csv(
        folder / "metadata.csv", index=False)
    bags = [random.normal(size=(random.integers(3, 9), N_FEATURES)).astype(np.float32) for _ in slides]
    (folder / "feature").mkdir()
    for slide, bag in zip(slides, bags):
        bag.dump(folder / "feature" / f"{slide}.pkl")
    with open(folder / "features.pkl", "wb") as file:
        pickle.dump(list(zip(slides, bags)), file)
    of_patient = np.unique(patients, return_inverse=True)[1]
    labels = {}
    for n, cell_type in enumerate(CELL_TYPES):
        genes = [f"G{i}" for i in range(3 + n)]
        table = pd.DataFrame(random.gamma(2, size=(N_PATIENTS, len(genes)))[of_patient], columns=genes)
        table.assign(other=1.).to_pickle(folder / f"breast_{cell_type}_log_exp_merged.pkl")
        pd.DataFrame({"gene": genes}).to_csv(folder / f"breast_{cell_type}_gene_file.csv", index=False)
        labels[f"{cell_type}_preds"] = table
    fractions = pd.DataFrame(random.dirichlet([2, 1], N_PATIENTS)[of_patient], slides, CELL_TYPES)
    fractions.to_pickle(folder / "breast_cell_frac_merged.pkl")
    labels["cell_fraction_preds"] = fractions
    pd.DataFrame({"cell_types": CELL_TYPES}).to_csv(folder / "cell_types_file.csv", index=False)
    response = pd.Series(np.array(["pCR", "RD", "RD"])[np.arange(N_PATIENTS) % 3][of_patient])
    labels["direct_preds"] = pd.DataFrame({"pCR.RD": response.where(patients != "TCGA-A1-0005")})
    labels["direct_preds"].assign(case=patients).to_pickle(folder / "patient_data.pkl")
    idx = published_folds(patients, random)
    (folder / "splits").mkdir()
    np.savez(folder / "splits" / "train_valid_test_idx.npz", **idx)
    for name, table in labels.items():
        for k, i in np.ndindex(2, 2):
            model = PublishedModel(table.shape[1], relu=name == "direct_preds").eval()
            result = folder / "results" / name / f"result_{k}_{i}"
            result.mkdir(parents=True)
            torch.save(model.state_dict(), result / "model_trained.pth")
            with torch.no_grad():
                predictions = torch.stack([model(torch.from_numpy(bags[row])) for row in idx["test_idx"][k]])
            if name == "direct_preds":    # calls, and the probabilities beside them
                probabilities = torch.sigmoid(predictions)[:, 0].numpy()
                np.savetxt(result / "test_confs.txt", probabilities, fmt="%.8f")
                predictions = (probabilities > .5).astype(float)
            np.savetxt(result / "test_preds.txt", predictions, fmt="%.8f")
    return folder


@pytest.fixture(scope="module")
def imported(original, run_script, tmp_path_factory):
    project = tmp_path_factory.mktemp("imported")
    done = run_script("data/import_original.py", original, project, "--encoder", "ctranspath")
    assert done.returncode == 0, done.stderr
    return project, done.stdout


def test_models_predict_what_they_predicted(imported, original):
    project, printed = imported
    idx = np.load(original / "splits" / "train_valid_test_idx.npz", allow_pickle=True)
    slide_ids = pd.read_csv(original / "metadata.csv")["Slide.ID"].to_numpy()
    for name in ["Cancer Epithelial_preds", "T-cells_preds", "cell_fraction_preds", "direct_preds"]:
        for k, i in np.ndindex(2, 2):
            file_name = "test_confs.txt" if name == "direct_preds" else "test_preds.txt"
            there = pd.DataFrame(np.loadtxt(original / "results" / name / f"result_{k}_{i}" / file_name, ndmin=2)
                                 .reshape(len(idx["test_idx"][k]), -1), slide_ids[idx["test_idx"][k]])
            with h5py.File(project / "results" / name / f"result_{k}_{i}" / "predictions.h5") as file:
                here = pd.DataFrame(file["test/predictions"][:], file["test/slide_ids"].asstr()[:])
            np.testing.assert_allclose(here, there.loc[here.index], atol=1e-5)
    assert printed.count("predictions differ by at most") == 4 and "NOT THE SAME" not in printed


def test_results_are_written_as_the_published_scripts_write_them(imported, original, run_script, tmp_path):
    """What was imported and written again is what that program wrote, row by row."""
    done = run_script("data/export_original.py", imported[0], tmp_path / "again")
    assert done.returncode == 0, done.stderr
    slides = pd.read_csv(original / "metadata.csv")["Slide.ID"]
    idx = np.load(original / "splits" / "train_valid_test_idx.npz", allow_pickle=True)
    for name, files in (("T-cells_preds", ["test_preds.txt"]), ("direct_preds", ["test_preds.txt", "test_confs.txt"])):
        for k, i in np.ndindex(2, 2):
            there, here = (folder / "results" / name / f"result_{k}_{i}" for folder in (original, tmp_path / "again"))
            rows = (here / "test_slides.txt").read_text().split()
            for file in files:
                expected = pd.DataFrame(np.loadtxt(there / file), slides[idx["test_idx"][k]])
                np.testing.assert_allclose(pd.DataFrame(np.loadtxt(here / file), rows), expected.loc[rows], atol=1e-6)
    genes = pd.read_csv(tmp_path / "again" / "breast_T-cells_gene_file.csv")
    assert genes["gene"].tolist() == pd.read_csv(original / "breast_T-cells_gene_file.csv")["gene"].tolist()
    again = run_script("data/export_original.py", imported[0], tmp_path / "again")
    assert again.returncode == 1 and "--overwrite" in again.stderr


@pytest.mark.parametrize("script, more", [("data/check_project.py", []), ("prediction/make_splits.py", []),
                                          ("slide_processing/1main_processing.py", ["0"]),
                                          ("deconvolution/1main_deconvolution.py", [])])
def test_other_scripts_point_to_the_importer(original, run_script, script, more):
    done = run_script(script, original, *more)
    assert done.returncode == 1 and "data/import_original.py" in done.stderr and done.stderr.count("\n") == 1
    assert not (original / "logs").exists()


@pytest.mark.slow
def test_the_check_leads_from_the_import_to_the_tables(imported, run_script, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(imported[0], project)
    shutil.rmtree(project / "results" / "T-cells_preds" / "result_0_1")
    scripts, _ = follow(run_script, project, with_options=False)
    assert scripts == ["prediction/1main_cs_exp_regression.py", "prediction/collect_results.py",
                       "prediction/figures.py"]


def test_weights_load_into_the_model_of_prediction(imported, original):
    project, _ = imported
    slides = features_file.read_slides(project / "features.h5")
    for name in ("cell_fraction_preds", "direct_preds"):
        result = project / "results" / name / "result_1_0"
        with h5py.File(result / "predictions.h5") as file:
            expected, slide_ids = file["test/predictions"][:], file["test/slide_ids"].asstr()[:]
        head = json.loads((result / "config.json").read_text())["head"]
        config = types.SimpleNamespace(head=head, hidden=N_HIDDEN, batch_size=32, dropout=.2)
        network = mlp.Network(N_FEATURES, expected.shape[1], config, torch.Generator())
        network.load_state_dict(torch.load(result / "model_trained.pth", weights_only=True))
        rows = torch.from_numpy(np.flatnonzero(np.isin(slides.slide_ids, slide_ids)))
        tiles = pooling.TilePooling(slides, torch.device("cpu"))
        np.testing.assert_allclose(mlp.predict(network, tiles, rows), expected, atol=1e-5)


def test_labels_folds_and_response_are_those_of_the_original(imported, original):
    project, printed = imported
    slides = pd.read_csv(project / "metadata.csv")
    table = pd.read_pickle(original / "breast_T-cells_log_exp_merged.pkl")
    with h5py.File(project / "targets.h5") as file:
        labels = pd.DataFrame(file["expression/T-cells/labels"][:], file["patient_ids"].asstr()[:])
        assert list(file["expression/T-cells/genes"].asstr()[:]) == ["G0", "G1", "G2", "G3"]
    for row, patient in enumerate(slides["Patient.ID"]):
        np.testing.assert_allclose(labels.loc[patient], table.iloc[row, :4], rtol=1e-6)
    splits = json.loads((project / "splits.json").read_text())
    idx = np.load(original / "splits" / "train_valid_test_idx.npz", allow_pickle=True)
    assert splits["outer"][1]["test"] == sorted(set(slides["Patient.ID"].iloc[idx["test_idx"][1]]))
    assert splits["outer"][0]["inner"][1]["train"] == sorted(set(slides["Patient.ID"].iloc[idx["train_idx"][0, 1]]))
    clinical = pd.read_csv(project / "clinical.csv", keep_default_na=False).set_index("Patient.ID")["Response"]
    assert clinical["TCGA-A1-0000"] == "pCR" and clinical["TCGA-A1-0005"] == "" and len(clinical) == N_PATIENTS
    assert "breast_cell_frac_merged.pkl: joined by slide id (index)" in printed
    assert ("breast_T-cells_log_exp_merged.pkl: joined by row number, which no id can confirm; equal on all slides of "
            "the 2 patients with several") in printed
    assert "patient_data.pkl: joined by patient id (column case)" in printed


def test_tables_are_collected_from_imported_models(imported, run_script):
    project, _ = imported
    check = run_script("data/check_project.py", project)
    assert check.returncode == 0, check.stdout
    _, script, folder, *options = shlex.split(check.stdout.splitlines()[-1].removeprefix("next: "))
    assert script == "prediction/collect_results.py" and folder == str(project)
    done = run_script(script, project, *options)
    assert done.returncode == 0, done.stderr
    summary = pd.read_csv(project / "results" / "summary.csv")
    assert {*CELL_TYPES, "abundance", "direct"} <= set(summary["target"])


def test_second_import_is_skipped_and_features_pkl_alone_gives_the_same(original, imported, run_script, tmp_path):
    project, _ = imported
    done = run_script("data/import_original.py", original, project, "--encoder", "ctranspath")
    assert done.returncode == 0 and "skipped" in done.stdout
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in original.iterdir():
        if path.name not in ("feature", "results"):
            (copy / path.name).symlink_to(path)
    done = run_script("data/import_original.py", copy, tmp_path / "p", "--encoder", "ctranspath")
    assert done.returncode == 0, done.stderr
    with h5py.File(project / "features.h5") as one, h5py.File(tmp_path / "p" / "features.h5") as other:
        np.testing.assert_array_equal(one["features"][:], other["features"][:])
        assert one.attrs["content_sha256"] == other.attrs["content_sha256"]
    done = run_script("prediction/1main_abundance_regression.py", tmp_path / "p", 0, 0, "--max-epochs", 2)
    assert done.returncode == 0, done.stderr


def with_changed(original, tmp_path, name, change):
    """A copy of the original project by links, in which one file is what `change(path)` writes."""
    copy = tmp_path / "changed"
    copy.mkdir()
    for path in original.rglob("*"):
        target = copy / path.relative_to(original)
        if path.is_dir():
            target.mkdir()
        elif str(path.relative_to(original)) == name:
            change(path, target)
        else:
            target.symlink_to(path)
    return copy


def harm(path, target):
    """A pickle that runs a command when it is loaded."""
    target.write_bytes(b"cos\nsystem\n(S'touch " + str(target.parent / "harm").encode() + b"'\ntR.")


def shuffled(path, target):
    pd.read_pickle(path).sample(frac=1, random_state=1).reset_index(drop=True).to_pickle(target)


def by_slide(path, target):
    idx = {name: array.copy() for name, array in np.load(path, allow_pickle=True).items()}
    test, train = idx["test_idx"][0], idx["train_idx"][0, 0]
    both = [3, 20]  # the two slides of one patient
    idx["test_idx"][0] = np.append(np.setdiff1d(test, both), 3)
    idx["train_idx"][0, 0] = np.append(np.setdiff1d(train, both), 20)
    np.savez(target, **idx)


def of_other_features(path, target):
    state = torch.load(path, weights_only=True)
    torch.save(state | {"layer0.0.weight": state["layer0.0.weight"][:, 1:]}, target)


@pytest.mark.parametrize("name, change, message", [
    ("results/T-cells_preds/result_0_0/model_trained.pth", of_other_features,
     f"models of {N_FEATURES - 1} features a tile"),
    ("patient_data.pkl", harm, "it wants os.system, and only arrays and tables are admitted"),
    ("feature/TCGA-A1-0003-01Z-00-DX1.pkl", harm, "it wants os.system"),
    ("results/T-cells_preds/result_0_0/model_trained.pth", harm, "no state dict that can be read safely"),
    ("breast_T-cells_log_exp_merged.pkl", shuffled, "slides of one patient have different values"),
    ("splits/train_valid_test_idx.npz", by_slide, "slides of one patient are on two sides (TCGA-A1-0003)"),
    ("metadata.csv", lambda path, target: target.write_text(path.read_text().replace("TCGA-A1-", "Q")),
     "give --patient-column"),
    ("breast_T-cells_gene_file.csv", lambda path, target: target.write_text("gene\nG0\nG9\n"),
     "lacks 1 of 2 columns: G9"),
    ("breast_cell_frac_merged.pkl", lambda path, target: None, "breast_cell_frac_merged.pkl is missing")])
def test_bad_input_is_named(original, run_script, tmp_path, name, change, message):
    copy = with_changed(original, tmp_path, name, change)
    done = run_script("data/import_original.py", copy, tmp_path / "p", "--encoder", "ctranspath")
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(copy.rglob("harm")) and not (tmp_path / "p" / "metadata.csv").exists()


def test_models_of_other_features_are_reported(original, run_script, tmp_path):
    changed = "results/cell_fraction_preds/result_0_1/test_preds.txt"
    copy = with_changed(original, tmp_path, changed, lambda path, target: np.savetxt(target, np.loadtxt(path)[::-1]))
    done = run_script("data/import_original.py", copy, tmp_path / "p", "--encoder", "ctranspath")
    assert done.returncode == 0 and done.stdout.count("NOT THE SAME") == 1


def without_label(path, target):
    table = pd.read_pickle(path)
    table.iloc[5] = np.nan
    table.to_pickle(target)


def test_patients_without_labels_are_in_no_fold(original, run_script, tmp_path):
    copy = with_changed(original, tmp_path, "breast_T-cells_log_exp_merged.pkl", without_label)
    done = run_script("data/import_original.py", copy, tmp_path / "p", "--encoder", "ctranspath")
    assert done.returncode == 0 and "1 patients without all labels left out" in done.stdout, done.stderr
    splits = splits_file.read(tmp_path / "p" / "splits.json")
    assert "TCGA-A1-0005" not in splits["patients"] and len(splits["patients"]) == N_PATIENTS - 1
    target = targets_file.read_abundance(tmp_path / "p" / "targets.h5")
    slides = features_file.read_slides(tmp_path / "p" / "features.h5")
    splits_file.check_patients(splits, "splits.json", slides, target)


def test_rows_in_another_order_are_joined_by_id_and_reported():
    slides = pd.DataFrame({"slide_id": ["P1-A", "P1-B", "P2-A"], "patient_id": ["P1", "P1", "P2"]})
    table = pd.DataFrame({"x": [2., 1, 1]}, index=["P2-A", "P1-A", "P1-B"])
    values, note = row_join.per_patient(table, ["x"], slides, "t")
    assert values["x"].to_dict() == {"P1": 1, "P2": 2} and "IN ANOTHER ORDER" in note
    values, note = row_join.per_patient(table[:2].set_axis(["P2-A-01", "P1-A-01"]), ["x"], slides, "t")
    assert values["x"].to_dict() == {"P2": 2, "P1": 1}
    with pytest.raises(ValueError, match="has 2 rows and no ids"):
        row_join.per_patient(table[:2].reset_index(drop=True), ["x"], slides, "t")
