"""Every kind of project is led to its end by the commands that check_project.py prints."""
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
from next_commands import follow

import trained_project
from slide_ex.project import feature_file, metadata_file, splits_file

LABELS = ["deconvolution/1main_deconvolution.py", "deconvolution/prepare_targets.py"]
SLIDES = ["slide_processing/1main_processing.py", "slide_processing/collect_mask.py",
          "slide_processing/collect_features.py"]
MODELS = ["prediction/make_splits.py", "prediction/1main_cs_exp_regression.py",
          "prediction/1main_abundance_regression.py", "prediction/1main_direct.py", "prediction/collect_results.py",
          "prediction/figures.py"]
TABLES = ("bulk_expression.tsv.gz", "signature.tsv.gz", "reference.tsv.gz", "clinical.csv")


@pytest.fixture(scope="module")
def demo(tmp_path_factory, run_script):
    """A small demo cohort, finished."""
    project = tmp_path_factory.mktemp("demo") / "demo"
    sizes = ("--patients", 14, "--genes", 250, "--width-px", 1024, "--height-px", 1024)
    assert run_script("data/make_demo_cohort.py", project, *sizes).returncode == 0
    scripts, last = follow(run_script, project)
    assert scripts in (LABELS + SLIDES + MODELS, [one for one in LABELS + SLIDES + MODELS if "direct" not in one])
    assert last == f"everything is done; the figures are in {project / 'figures'}"
    return project


def scripts_of_models(scripts):
    """The scripts without that of the direct model, which few patients may not allow."""
    return [script for script in scripts if "direct" not in script]


@pytest.mark.slow
def test_own_slides_and_tables(demo, run_script, tmp_path):
    table = metadata_file.read(demo).rename(columns={"filename": "Filename", "patient_id": "Patient.ID",
                                                     "magnification": "Magnification"})
    table[["Filename", "Patient.ID", "Magnification"]].to_csv(tmp_path / "cohort.csv", index=False)
    done = run_script("data/prepare_cohort.py", tmp_path / "own", "--table", tmp_path / "cohort.csv", "--slides",
                      demo / "slides", "--expression", demo / "bulk_expression.tsv.gz")
    assert done.returncode == 0, done.stderr
    for name in ("signature.tsv.gz", "reference.tsv.gz"):
        shutil.copy(demo / name, tmp_path / "own" / name)
    scripts, _ = follow(run_script, tmp_path / "own")
    assert scripts == LABELS + SLIDES + scripts_of_models(MODELS)


@pytest.mark.slow
def test_features_of_another_tool(demo, run_script, tmp_path):
    project = tmp_path / "imported"
    project.mkdir()
    for name in ("metadata.csv", *TABLES):
        shutil.copy(demo / name, project / name)
    (tmp_path / "trident").mkdir()
    for slide_id in metadata_file.read(demo).slide_id:
        with (h5py.File(feature_file.path_of(demo, slide_id)) as source,
              h5py.File(tmp_path / "trident" / f"{slide_id}.h5", "w") as file):
            file["features"], file["coords"] = source["features"][:], source["coords"][:]
            file["coords"].attrs.update(patch_size=512, patch_size_level0=512, target_magnification=20)
    done = run_script("data/import_features.py", project, "--features-from", tmp_path / "trident", "--encoder", "uni")
    assert done.returncode == 0, done.stderr
    scripts, _ = follow(run_script, project)
    assert scripts_of_models(scripts) == LABELS + scripts_of_models(MODELS), "no slide is processed again"


@pytest.mark.slow
def test_labels_of_another_tool(demo, run_script, tmp_path):
    project, random = tmp_path / "project", np.random.default_rng(0)
    project.mkdir()
    whole = shutil.copytree(demo, tmp_path / "whole")
    done = run_script("slide_processing/collect_features.py", whole, "--copy", "--overwrite")
    assert done.returncode == 0, done.stderr
    for name in ("metadata.csv", "features.h5", "clinical.csv"):
        shutil.copy(whole / name, project / name)
    patients = sorted(set(metadata_file.read(demo).patient_id))
    (tmp_path / "labels").mkdir()
    for cell_type in ("Cancer", "T cells"):
        table = pd.DataFrame(random.gamma(2, 50, (len(patients), 5)), patients, list("ABCDE"))
        table.to_csv(tmp_path / "labels" / f"{cell_type}.tsv", sep="\t")
    pd.DataFrame(random.dirichlet([2, 1], len(patients)), patients, ["Cancer", "T cells"]).to_csv(
        tmp_path / "labels" / "estimated_cell_fractions.txt", sep="\t")
    done = run_script("deconvolution/prepare_targets.py", project, "--labels", tmp_path / "labels")
    assert done.returncode == 0, done.stderr
    scripts, _ = follow(run_script, project)
    assert scripts_of_models(scripts) == scripts_of_models(MODELS)
    assert (project / "results" / "Cancer_genes.csv").is_file(), "a cell type whose name is a short form of another"


@pytest.mark.slow
def test_slides_only(demo, run_script, tmp_path):
    project = tmp_path / "slides only"
    (project / "slides").mkdir(parents=True)
    metadata = pd.read_csv(demo / "metadata.csv").iloc[:2]
    metadata.to_csv(project / "metadata.csv", index=False)
    for name in metadata["Filename"]:
        shutil.copy(demo / "slides" / name, project / "slides" / name)
    scripts, last = follow(run_script, project)
    assert scripts == SLIDES and "can be predicted by" in last and "predict_cohort.py" in last


@pytest.mark.slow
def test_features_to_be_predicted_only(run_script, tmp_path):
    home, away = trained_project.write(tmp_path)
    (away / "targets.h5").unlink()
    scripts, last = follow(run_script, away)
    assert scripts == [] and "can be predicted by" in last
    assert run_script("prediction/predict_cohort.py", away, "--models", home).returncode == 0
    scripts, last = follow(run_script, away)
    assert scripts == [] and last == f"everything is done; the predictions are in {away / 'predictions'}"


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["deconvolution/confidence_score.txt", "targets.h5", "mask.pdf", "features.h5",
                                  "mask/DEMO-P003-S1.pdf", "results/abundance.csv", "figures/fig3_abundance.png",
                                  "results/cell_fraction_preds/result_1_0/correlation.csv"])
def test_what_is_deleted_is_made_again_by_the_printed_commands(demo, run_script, tmp_path, gone):
    """They run as they are printed, except that a first run of targets needs its options."""
    project = tmp_path / "demo"
    shutil.copytree(demo, project)
    splits = splits_file.read(project / "splits.json")
    (project / gone).unlink()
    follow(run_script, project, with_options=gone == "targets.h5")
    assert (project / gone).is_file() and splits_file.read(project / "splits.json") == splits
