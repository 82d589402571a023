"""The functions for notebooks: the page's own lines run, and give what the files and a plain loop give."""
import re

import h5py
import numpy as np
import pytest
import torch
from conftest import ROOT

import simulated_results
import trained_project
from slide_ex.project import features_file
from transfer import notebook


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run_script):
    """demo (out of fold), hospital2 and demo_bundle, as the page names them."""
    folder = tmp_path_factory.mktemp("notebook")
    home, away = trained_project.write(folder)
    done = run_script("prediction/export_model.py", home, folder / "demo_bundle")
    assert done.returncode == 0, done.stderr
    away.rename(folder / "hospital2")
    simulated_results.write(folder / "demo", simulated_results.CELL_TYPES[:3], 6)
    return folder


def test_the_lines_of_the_page_run(folder, monkeypatch):
    lines, = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    scope = {}
    exec(lines.replace("slide-ex/prediction", str(ROOT / "prediction")), scope)
    with h5py.File("demo/results/predictions.h5") as file:
        group = file["expression/CAFs"]
        np.testing.assert_array_equal(scope["predicted"]["CAFs"], group["predictions"][:])
        assert list(scope["predicted"]["CAFs"].index) == group["patient_ids"].asstr()[:].tolist()
        expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(group["predictions"][:].T, group["labels"][:].T)]
    np.testing.assert_allclose(scope["r"], expected, rtol=1e-4)
    assert set(scope["predicted"]) >= {"CAFs", "abundance", "direct"}
    new = scope["new"]["CAFs"]
    slides = features_file.read_slides(folder / "hospital2" / "features.h5")
    assert list(new.index) == list(slides.slide_ids)
    np.testing.assert_allclose(new, mean_over_models(folder / "home", slides.mean_features), atol=1e-4)


def mean_over_models(project, x):
    """What all models of the CAFs predict, one after the other."""
    predicted = []
    for path in sorted((project / "results" / "CAFs_preds").glob("*/model_trained.pth")):
        state = torch.load(path, weights_only=True)
        hidden = torch.tensor(x) @ state["first.weight"].T + state["first.bias"]
        predicted.append((hidden @ state["last.weight"].T + state["last.bias"]).numpy())
    return np.mean(predicted, axis=0)


def test_a_trained_project_is_applied_as_its_bundle(folder):
    features, colours, encoder = notebook.slide_features(folder / "hospital2")
    of_bundle, of_project = (notebook.apply(folder / models, features, encoder, colours, ["CAFs"])
                             for models in ("demo_bundle", "home"))
    assert list(of_bundle) == list(of_project) == ["CAFs"]
    np.testing.assert_allclose(of_bundle["CAFs"], of_project["CAFs"], atol=1e-5)


def test_other_features_are_refused(folder):
    features, colours, encoder = notebook.slide_features(folder / "hospital2")
    with pytest.raises(ValueError, match="features are of uni, the models of .* learnt from those of resnet50"):
        notebook.apply(folder / "demo_bundle", features, "uni", colours)
    with pytest.raises(ValueError, match="needed: finite numbers"):
        notebook.apply(folder / "demo_bundle", features.iloc[:, 1:], encoder, colours)
    with pytest.raises(ValueError, match="no target 'CAF'"):
        notebook.apply(folder / "demo_bundle", features, encoder, colours, ["CAF"])
