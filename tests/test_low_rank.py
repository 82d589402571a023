"""The low-rank model against independent solutions, and laws of how it is chosen and used."""
import dataclasses
import itertools
import json
import shutil
import types

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import optimize
from sklearn import metrics
from sklearn.linear_model import Ridge

import simulated_cohort
from evaluation import association, baselines, out_of_fold, resampling, result_tables, training_length
from response import cohorts, feature_sets
from slide_ex import checksums, record
from slide_ex.project import features_file, model_folder, splits_file, targets_file
from training import linear_head, low_rank, train_low_rank

SCRIPTS = {"CAFs": ("prediction/1main_cs_exp_regression.py", "CAFs"), "abundance": (
    "prediction/1main_abundance_regression.py",), "direct": ("prediction/1main_direct.py",)}
SMALL = ("--hidden", "64", "--max-epochs", "60", "--patience", "20")


def problem(n=30, n_features=12, n_outputs=5, seed=0):
    """Features, colours and labels of slides; the last ten slides are not trained on."""
    random = np.random.default_rng(seed)
    features, colours = random.normal(size=(n, n_features)), 200 + 20 * random.normal(size=(n, 3))
    labels = 4 + features @ random.normal(size=(n_features, n_outputs)) + random.normal(size=(n, n_outputs))
    return features, colours, labels + 0.1 * colours[:, :1], np.arange(n - 10)


def fit(kernel, labels, penalty, rank):
    """low_rank.fit with the labels of the training slides alone."""
    return low_rank.fit(kernel, low_rank.prepare(labels, [(kernel.train,)]), penalty, rank)


def absolute(kernel, penalty):
    return penalty * kernel.values.sum() / len(kernel.train)


@pytest.mark.parametrize("colour_weight", [0.0, 0.3])
def test_at_full_rank_it_is_the_ridge_of_scikit_learn(colour_weight):
    features, colours, labels, train = problem()
    kernel = low_rank.kernel(features, colours, train, colour_weight)
    state = fit(kernel, labels, 0.1, labels.shape[1])
    oracle = Ridge(alpha=absolute(kernel, 0.1)).fit(kernel.z(train), labels[train])
    assert np.allclose(linear_head.predict(state, features, colours), oracle.predict(kernel.z()))
    standardised = (features - features[train].mean(0)) / features[train].std(0) / features.shape[1] ** 0.5
    assert np.allclose(kernel.z()[:, :12], standardised)
    of_features, of_colours = (np.square(kernel.z(train)[:, columns]).sum() for columns in (slice(12), slice(12, None)))
    assert of_colours == pytest.approx(colour_weight * of_features)


def test_labels_that_are_prepared_together_change_no_model():
    """Those of other parts of an outer fold are centred with those of a training part, whatever their level."""
    features, _, labels, train = problem()
    valid, kernel = np.arange(20, 30), low_rank.kernel(features, None, train, 0.0)
    alone = low_rank.fit(kernel, low_rank.prepare(labels, [(train,)]), 0.1, 2)
    labels[valid] += 100
    together = low_rank.fit(kernel, low_rank.prepare(labels, [(train, valid)]), 0.1, 2)
    assert np.allclose(linear_head.predict(alone, features), linear_head.predict(together, features))


@pytest.mark.parametrize("rank, penalty", [(1, 0.03), (2, 0.3)])
def test_no_other_matrix_of_that_rank_has_a_lower_penalised_loss(rank, penalty):
    features, colours, labels, train = problem(n=25, n_features=6, n_outputs=4)
    kernel = low_rank.kernel(features, colours, train, 0.0)
    z, y, alpha = kernel.z(train), labels[train] - labels[train].mean(0), absolute(kernel, penalty)

    def loss(flat):
        left, right = flat[:6 * rank].reshape(6, rank), flat[6 * rank:].reshape(rank, 4)
        coefficients = left @ right
        residual = z @ coefficients - y
        gradient = 2 * (z.T @ residual + alpha * coefficients)
        return (residual ** 2).sum() + alpha * (coefficients ** 2).sum(), np.r_[(gradient @ right.T).ravel(),
                                                                                (left.T @ gradient).ravel()]

    starts = np.random.default_rng(1).normal(size=(10, 10 * rank))
    found = min((optimize.minimize(loss, start, jac=True, options={"gtol": 1e-9}) for start in starts),
                key=lambda result: result.fun)
    coefficients = found.x[:6 * rank].reshape(6, rank) @ found.x[6 * rank:].reshape(rank, 4)
    state = fit(kernel, labels, penalty, rank)
    expected = kernel.z() @ coefficients + labels[train].mean(0)
    assert np.allclose(linear_head.predict(state, features), expected, atol=1e-4)
    assert np.linalg.matrix_rank(linear_head.matrix(state)[0]) == rank


def test_the_leading_directions_of_many_slides_are_those_of_the_full_decomposition():
    random = np.random.default_rng(0)
    root = random.normal(size=(200, 30)) * np.linspace(3, 1, 30)
    found, values = low_rank.leading(root @ root.T, 6), np.linalg.eigvalsh(root @ root.T)[::-1][:6]
    assert np.allclose((found * (root @ root.T @ found)).sum(0), values) and np.allclose(found.T @ found, np.eye(6))


def test_rotated_inputs_change_nothing():
    """Of the standardised inputs: their Gram matrix is all that is seen."""
    features, colours, labels, train = problem()
    kernel = low_rank.kernel(features, colours, train, 0.0)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(12, 12)))[0]
    z = kernel.z() @ rotation
    values, vectors = np.linalg.eigh(z[train] @ z[train].T)
    kept = values > low_rank.NEGLIGIBLE * values[-1]
    rotated = low_rank.Kernel((z,), np.zeros(12), np.ones(12), train, values[kept], vectors[:, kept],
                              z @ z[train].T @ vectors[:, kept])
    assert np.allclose(linear_head.predict(fit(kernel, labels, 0.1, 3), features),
                       linear_head.predict(fit(rotated, labels, 0.1, 3), z))


def test_a_column_that_is_constant_in_training_is_not_used():
    features, colours, labels, train = problem()
    features[train, 0] = 1 / 3
    state = fit(low_rank.kernel(features, colours, train, 0.0), labels, 0.1, 2)
    assert (linear_head.matrix(state)[0][:, 0] == 0).all() and np.isfinite(state["first.weight"]).all()
    with pytest.raises(ValueError, match="the same features"):
        low_rank.kernel(np.ones((30, 4)), colours, train, 0.0)


def plain_scores(features, colours, labels, parts):
    """Score of every candidate with one model and one prediction after the other."""
    for weight, penalty, rank in itertools.product((0.0, 0.3), low_rank.PENALTIES, (1, 2, 3, 4)):
        predictions, known = [], []
        for train, valid in parts:
            state = fit(low_rank.kernel(features, colours, train, weight), labels, penalty, rank)
            of_valid = linear_head.predict(state, features[valid], colours[valid])
            predictions.append(of_valid - of_valid.mean(0))
            known.append(labels[valid] - labels[valid].mean(0))
        yield (weight, penalty, rank), association.pearson(np.concatenate(predictions), np.concatenate(known)).mean()


def test_the_choice_is_that_of_all_inner_validation_parts_each_centred():
    features, colours, labels, _ = problem(n=40, seed=3)
    rows = np.random.default_rng(0).permutation(30)
    parts = [(np.sort(np.setdiff1d(rows, rows[i:i + 10])), np.sort(rows[i:i + 10])) for i in (0, 10, 20)]
    labels[parts[0][1]] += 50   # the level of a part says nothing
    labels[30:] = np.nan        # no part has these slides: their labels are never read
    choice, table = low_rank.choose(lambda *of_part: low_rank.kernel(features, colours, *of_part), parts,
                                    low_rank.prepare(labels, parts), (0.0, 0.3))
    plain = dict(plain_scores(features, colours, labels, parts))
    found = {(row["colour_weight"], row["penalty"], row["rank"]): row["valid_r"] for row in table}
    assert found == pytest.approx(plain) and dataclasses.astuple(choice) == max(plain, key=plain.get)


def test_of_candidates_with_equal_scores_the_simplest_is_chosen(monkeypatch):
    """The least colour, the highest penalty and the lowest rank."""
    features, colours, labels, train = problem()
    parts = [(train[:15], train[15:])]
    monkeypatch.setattr(low_rank, "mean_r", lambda *sums: 0.5)
    choice, table = low_rank.choose(lambda *of_part: low_rank.kernel(features, colours, *of_part), parts,
                                    low_rank.prepare(labels, parts), (0.0, 0.3))
    assert dataclasses.astuple(choice) == (0, 100, 1) == tuple(table[0].values())[:3]


def test_response_is_calibrated_on_slides_that_a_model_has_not_seen():
    """Of the training slides, whose labels many features fit, the slope would be far steeper."""
    random = np.random.default_rng(0)
    slides = types.SimpleNamespace(mean_features=random.normal(size=(90, 200)), mean_rgb=random.normal(size=(90, 3)))
    labels = (slides.mean_features[:, :30].mean(1, keepdims=True) + 0.1 * random.normal(size=(90, 1)) > 0.1) * 1.0
    trainer, folds = train_low_rank.Trainer(slides, None), np.arange(90) % 3
    parts = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(3)]
    prepared, choice = low_rank.prepare(labels, parts), low_rank.Choice(0.3, 0.01, 1)
    slope, intercept = trainer.calibration(parts, labels, prepared, choice)
    scores, known = [], []
    for train, valid in parts:
        ridge = Ridge(alpha=absolute(trainer.kernel(train, 0.3), 0.01)).fit(trainer.kernel(train, 0.3).z(train),
                                                                             labels[train, 0])
        scores.append(ridge.predict(trainer.kernel(train, 0.3).z(valid)))
        known.append(labels[valid, 0])
    expected = train_low_rank.platt(*map(np.concatenate, (scores, known)))
    assert (slope, intercept) == pytest.approx(expected, rel=1e-3) and slope > 0
    assert trainer.kernel(parts[0][0], 0.3) is trainer.kernel(parts[0][0], 0.3)
    assert trainer.kernel(parts[0][0], 0.0).z().shape[1] == 200


def test_a_calibrated_model_is_the_line_through_its_predictions():
    features, colours, labels, train = problem(n_outputs=1)
    state = fit(low_rank.kernel(features, colours, train, 0.3), labels, 0.1, 1)
    scores = linear_head.predict(state, features, colours)
    assert np.allclose(linear_head.predict(low_rank.calibrated(state, 3, -2), features, colours), 3 * scores - 2)


def test_platt_is_calibrated_and_never_turns_scores_round():
    random = np.random.default_rng(0)
    scores = random.normal(size=4000)
    labels = (random.random(4000) < 1 / (1 + np.exp(-(2 * scores - 1)))).astype(float)
    assert train_low_rank.platt(scores, labels) == pytest.approx((2, -1), abs=0.2)
    assert train_low_rank.platt(-scores, labels) == pytest.approx((0, np.log(labels.mean() / (1 - labels.mean()))))


def test_scores_that_separate_the_validation_slides_do_not_make_new_ones_equal():
    """The likelihood of Platt's targets, (n + 1) / (n + 2) and 1 / (n + 2), keeps their mean."""
    random = np.random.default_rng(0)
    labels = np.r_[np.ones(8), np.zeros(18)]
    scores = labels + 0.5 * random.random(26)
    slope, intercept = train_low_rank.platt(scores, labels)
    probabilities = linear_head.probability(slope * scores + intercept)
    assert probabilities.mean() == pytest.approx((8 * 9 / 10 + 18 / 20) / 26, abs=1e-3)
    new = linear_head.probability(slope * np.linspace(-0.5, 2.5, 50) + intercept).astype(np.float32)
    assert (np.diff(new) > 0).all() and 0 < new[0] and new[-1] < 1


@pytest.fixture(scope="module")
def home(tmp_path_factory, run_script):
    """A cohort with 3 x 2 folds and both kinds of models of CAFs, abundance and response."""
    project = simulated_cohort.write(tmp_path_factory.mktemp("low_rank") / "home", n_patients=60, noise=0.5)
    done = run_script("prediction/make_splits.py", project, "--outer", 3, "--inner", 2, "--stratify", "response")
    assert done.returncode == 0, done.stderr
    for script, *cell_type in SCRIPTS.values():
        done = run_script(script, project, "all", "all", *cell_type, "--model", "both", *SMALL)
        assert done.returncode == 0, done.stderr
    done = run_script("prediction/collect_results.py", project, "--bootstrap", 50)
    assert done.returncode == 0, done.stderr
    return project


def predictions_of(project, target, outer, inner, part="test"):
    path = model_folder.folder(model_folder.root(project / "results", "low-rank"), target, outer, inner)
    return model_folder.read_predictions(path, part).predictions


@pytest.fixture
def copy(home, tmp_path):
    return shutil.copytree(home, tmp_path / "home")


@pytest.mark.parametrize("target", SCRIPTS)
def test_stored_weights_give_the_stored_predictions(home, target):
    slides, splits = features_file.read_slides(home / "features.h5"), splits_file.read(home / "splits.json")
    path = model_folder.folder(model_folder.root(home / "results", "low-rank"), target, 1, 0)
    assert {file.name for file in path.iterdir()} == set(model_folder.files(target, model="low-rank"))
    rows = slides.rows_of(splits["outer"][1]["test"])
    values = linear_head.predict(model_folder.read_state(path), slides.mean_features[rows], slides.mean_rgb[rows])
    if target == "direct":
        values = linear_head.probability(values)
    assert np.allclose(values, predictions_of(home, target, 1, 0), atol=1e-5)


def test_labels_of_the_test_fold_are_never_seen(copy, run_script):
    """The same predictions when they are shuffled; of another outer fold, which trains on them, others."""
    before = [predictions_of(copy, "CAFs", outer, 0) for outer in range(2)]
    tested = splits_file.read(copy / "splits.json")["outer"][0]["test"]
    with h5py.File(copy / "targets.h5", "r+") as file:
        rows = np.flatnonzero(np.isin(file["patient_ids"].asstr()[:], tested))
        labels = file["expression/CAFs/labels"][:]
        labels[rows] = np.random.default_rng(0).permutation(labels[rows]) + 3
        file["expression/CAFs/labels"][:] = labels
    script, *cell_type = SCRIPTS["CAFs"]
    done = run_script(script, copy, "all", "all", *cell_type, "--model", "low-rank", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert np.array_equal(before[0], predictions_of(copy, "CAFs", 0, 0))
    assert not np.allclose(before[1], predictions_of(copy, "CAFs", 1, 0), atol=0.01)


def test_one_inner_fold_is_the_same_as_in_all_and_other_data_are_refused(copy, run_script):
    script, *cell_type = SCRIPTS["CAFs"]
    before = predictions_of(copy, "CAFs", 2, 1)
    shutil.rmtree(copy / "results" / "low_rank" / "CAFs_preds")
    command = (script, copy, 2, 1, *cell_type, "--model", "low-rank", "--processes", 1)
    assert run_script(*command).returncode == 0
    assert np.array_equal(before, predictions_of(copy, "CAFs", 2, 1))
    assert "1 low-rank models, 1 finished before" in run_script(*command).stdout
    with h5py.File(copy / "features.h5", "r+") as file:
        file["mean_rgb"][0] += 1
    done = run_script(*command)
    assert done.returncode == 1 and "colours_sha256" in done.stderr and "Traceback" not in done.stderr
    done = run_script("prediction/collect_results.py", copy, "--partial")
    assert done.returncode == 1 and "trained with other colours" in done.stderr


def test_where_a_slide_has_no_colour_the_features_alone_are_used(copy, run_script):
    simulated_cohort.change(copy / "features.h5", "mean_rgb", lambda rgb: np.where(np.arange(len(rgb))[:, None] == 3,
                                                                                   np.float32(np.nan), rgb))
    script, *cell_type = SCRIPTS["CAFs"]
    done = run_script(script, copy, 0, "all", *cell_type, "--model", "low-rank", "--overwrite")
    assert done.returncode == 0 and "use no colour, because the mean colour is not known of 1 (P003" in done.stdout
    path = copy / "results" / "low_rank" / "CAFs_preds" / "result_0_0"
    assert model_folder.read_state(path)["first.weight"].shape[1] == 24
    assert (pd.read_csv(path / "choice.csv")["colour_weight"] == 0).all()


def test_the_blend_is_the_mean_of_both_means_of_all_inner_models(home):
    summary = pd.read_csv(home / "results" / "summary.csv").set_index(["target", "model"])
    for target in SCRIPTS:
        both = [out_of_fold.collect(model_folder.root(home / "results", kind), target,
                                    list(itertools.product(range(3), range(2)))) for kind in model_folder.MODELS]
        with h5py.File(home / "results" / "predictions.h5") as file:
            name = f"expression/{target}" if target == "CAFs" else target
            found = file[name]["predictions"][:].reshape(both[0].predictions.shape)
            assert json.loads(file.attrs["models"])[target] == "blend" and file.attrs["use"] == ""
        assert np.allclose(found, (both[0].predictions + both[1].predictions) / 2, atol=1e-6)
        rows = summary.loc[target]
        assert list(rows.loc[["slide-ex", "network", "low-rank"], "head"]) == ["blend", "network", "low-rank"]
        quality = "auc" if target == "direct" else "median_r_in_folds"
        assert rows.loc["low-rank", "minus_network"] == pytest.approx(
            rows.loc["low-rank", quality] - rows.loc["network", quality], abs=1e-5)
        assert rows.loc["slide-ex", "minus_colour_low"] <= rows.loc["slide-ex", "minus_colour_high"]
        assert np.isnan(rows.loc["shuffled labels", "minus_network"])
        n_hardly = rows["n_hardly_trained"]
        assert n_hardly["slide-ex"] == n_hardly["network"] <= 6 and n_hardly.notna().sum() == 2


def test_response_is_compared_with_each_kind_of_direct_model(home):
    """Rows of their own beside the chosen one, with the AUC that the summary has."""
    found = cohorts.read(cohorts.Source(home, "results"), ())
    summary = pd.read_csv(home / "results" / "summary.csv").set_index(["target", "model"]).loc["direct"]
    for kind in (*model_folder.MODELS, "ridge"):
        scores = found.sets[f"direct {kind}"]["response"]
        assert feature_sets.kind_of((f"direct {kind}",)) == "direct"
        labels = [found.response[patient] for patient in scores.index]
        assert metrics.roc_auc_score(labels, scores) == pytest.approx(summary.loc[kind, "auc"], abs=1e-6)
    assert len({tuple(found.sets[name]["response"]) for name in feature_sets.DIRECT}) == 4


@pytest.mark.parametrize("use", model_folder.MODELS)
def test_use_decides_what_is_collected_exported_and_applied(copy, use, run_script):
    done = run_script("prediction/collect_results.py", copy, "--use", use, "--bootstrap", 5, "--no-baselines")
    assert done.returncode == 0, done.stderr
    summary = pd.read_csv(copy / "results" / "summary.csv").set_index(["target", "model"])
    assert summary.loc[("CAFs", "slide-ex"), "head"] == use
    assert {"blend", *model_folder.MODELS} - {use} == set(summary.loc["CAFs"].index) - {"slide-ex"}
    bundle = copy.parent / "bundle"
    assert run_script("prediction/export_model.py", copy, bundle).returncode == 0
    content = json.loads((bundle / "bundle.json").read_text())
    assert all(target.get("models", ["network"]) == [use] for target in content["targets"].values())
    shutil.rmtree(copy / "results" / "low_rank" / "CAFs_preds")
    done = run_script("prediction/collect_results.py", copy, "--use", "low-rank")
    assert done.returncode == 1 and "--use low-rank" in done.stderr and "CAFs" in done.stderr


@pytest.fixture(scope="module")
def away(tmp_path_factory):
    """Another hospital, whose patients have other ids; labels of 12 patients."""
    away = simulated_cohort.write(tmp_path_factory.mktemp("away") / "away", n_patients=12, seed=0)
    for name in ("features.h5", "targets.h5"):
        simulated_cohort.change(away / name, "patient_ids", lambda ids: np.array([b"Q" + one for one in ids], object))
    (away / "clinical.csv").unlink()
    return away


def test_another_hospital_gets_the_same_from_project_and_bundle(home, away, tmp_path, run_script):
    bundle = tmp_path / "bundle"
    assert run_script("prediction/export_model.py", home, bundle, "--all-models").returncode == 0
    assert json.loads((bundle / "bundle.json").read_text())["targets"]["CAFs"]["n_models"] == 12
    found, widths = [], []
    for models in (home, bundle):
        done = run_script("prediction/predict_cohort.py", away, "--models", models, "--bootstrap", 5, "--overwrite")
        assert done.returncode == 0, done.stderr
        with h5py.File(away / "predictions" / "home" / "predictions.h5") as file:
            assert file["expression/CAFs"].attrs["n_models"] == 12 and "half_width_90" not in file["direct"]
            found.append([file[name]["predictions"][:] for name in ("expression/CAFs", "abundance", "direct")])
            widths.append(file["expression/CAFs/half_width_90"][:])
    with h5py.File(home / "results" / "predictions.h5") as file:
        residuals = abs(file["expression/CAFs/labels"][:] - file["expression/CAFs/predictions"][:])
    assert np.allclose(np.sort(residuals, axis=0)[55 - 1], widths[0])  # .9 of 61 are 54.9
    assert np.allclose(*widths)
    for of_project, of_bundle in zip(*found):
        assert np.allclose(of_project, of_bundle, atol=1e-5)
    slides = features_file.read_slides(away / "features.h5")
    states = [model_folder.read_state(model_folder.folder(model_folder.root(home / "results", kind), "CAFs", *fold))
              for kind in model_folder.MODELS for fold in itertools.product(range(3), range(2))]
    plain = np.mean([linear_head.predict(state, slides.mean_features, slides.mean_rgb) for state in states], axis=0)
    averaged = out_of_fold.per_patient(slides.patient_ids, plain, plain, [])[-1]
    assert np.allclose(found[0][0], averaged, atol=1e-5)


def test_coverage_of_the_intervals_is_counted_and_other_models_have_none(home, away, run_script):
    folder = away / "predictions" / "home"
    command = ("prediction/predict_cohort.py", away, "--models", home, "--bootstrap", 5, "--csv", "--overwrite")
    assert run_script(*command).returncode == 0
    table = pd.read_csv(folder / "CAFs_genes.csv")
    with h5py.File(folder / "predictions.h5") as file:
        group = file["expression/CAFs"]
        inside = abs(group["labels"][:] - group["predictions"][:]) <= group["half_width_90"][:]
        assert np.allclose(table["half_width_90"], group["half_width_90"][:], rtol=1e-5)
    assert np.allclose(table["coverage_90"], inside.mean(0)) and 0 < inside.mean() < 1
    summary = pd.read_csv(folder / "summary.csv").set_index("target")
    assert summary.loc["CAFs", "coverage_90"] == pytest.approx(inside.mean(), abs=1e-5)
    assert list(pd.read_csv(folder / "CAFs_intervals.csv")) == ["output", "half_width_90"]
    done = run_script(*command, "--use", "network")
    assert done.returncode == 0, done.stderr
    assert "CAFs: no intervals, prediction/collect_results.py took blend, not network" in done.stdout
    with h5py.File(folder / "predictions.h5") as file:
        assert "half_width_90" not in file["expression/CAFs"]


def test_intervals_are_of_the_models_that_are_there(copy, run_script):
    """Models that were trained again after the tables were collected have none."""
    for path in copy.glob("results/CAFs_preds/result_*/config.json"):
        record.write(path, record.read(path, "a test") | {"seed": 7})
    done = run_script("prediction/export_model.py", copy, copy.parent / "bundle")
    assert done.returncode == 0 and "no intervals: " in done.stdout and "collect_results.py" in done.stdout
    content = json.loads((copy.parent / "bundle" / "bundle.json").read_text())
    assert not any("half_width_90" in target for target in content["targets"].values())


def test_models_with_and_without_colours_have_one_mean_matrix():
    random = np.random.default_rng(0)
    features, colours = random.normal(size=(6, 4)), random.normal(size=(6, 3))
    states = [{"weight": random.normal(size=(2, n)), "bias": random.normal(size=2)} for n in (4, 7, 4)]
    mean = linear_head.mean_matrix(iter(states))
    assert np.allclose(linear_head.predict(mean, features, colours),
                       np.mean([linear_head.predict(state, features, colours) for state in states], axis=0))
    with pytest.raises(ValueError, match="--use network"):
        linear_head.predict(mean, features, np.full((6, 3), np.nan))


def test_a_target_needs_the_kinds_that_were_begun_for_it(copy, run_script):
    """Of a target that has none yet, those of the others."""
    assert "all all 'Cancer Epithelial' --model both" in run_script("data/check_project.py", copy).stdout
    (copy / "results" / "low_rank" / "Cancer Epithelial_preds").mkdir()
    checked = run_script("data/check_project.py", copy).stdout
    assert "expression    6 of 12 models" in checked and "all all 'Cancer Epithelial' --model low-rank" in checked


def test_a_project_with_low_rank_models_is_finished_when_all_of_both_kinds_are_there(copy, run_script):
    with h5py.File(copy / "targets.h5", "r+") as file:
        del file["expression/Cancer Epithelial"]
    checked = run_script("data/check_project.py", copy).stdout
    assert "expression    6 of 6 models" in checked and "direct        6 of 6 models" in checked
    shutil.rmtree(copy / "results" / "low_rank" / "CAFs_preds" / "result_1_1")
    checked = run_script("data/check_project.py", copy).stdout
    assert "expression    5 of 6 models" in checked and "all all CAFs --model both" in checked
    shutil.rmtree(copy / "results" / "CAFs_preds")
    checked = run_script("data/check_project.py", copy).stdout
    assert "all all CAFs --model low-rank" in checked


# What the faithful model and its statistics rest on

@pytest.mark.parametrize("n_epochs, best, found", [(60, 40, (1, 0, 1)), (25, 5, (0, 1, 1)), (26, 6, (0, 0, 1))])
def test_networks_that_are_hardly_trained_are_counted(tmp_path, n_epochs, best, found):
    path = model_folder.folder(tmp_path, "CAFs", 0, 0)
    path.mkdir(parents=True)
    epochs = np.arange(1, n_epochs + 1)
    pd.DataFrame({"epoch": epochs, "train_loss": 1 / epochs, "valid_loss": 1 / epochs,
                  "valid_r": 0.5 - 0.01 * abs(epochs - best)}).to_csv(path / "history.csv", index=False)
    configs = {(0, 0): {"max_epochs": 60, "keep": "best"}, (0, 1): {"imported": True}}
    assert training_length.hardly_trained(tmp_path, "CAFs", configs) == found
    configs[0, 0]["keep"] = "last"      # then the first epochs are not what is kept
    assert training_length.hardly_trained(tmp_path, "CAFs", configs) == (found[0], 0, 1)


def test_the_learning_rate_is_recorded_and_goes_on(copy, run_script):
    script, *cell_type = SCRIPTS["CAFs"]
    done = run_script(script, copy, 0, 0, *cell_type, *SMALL, "--learning-rate", "1e-3")
    assert done.returncode == 1 and "learning_rate was 0.0001, now 0.001" in done.stderr
    shutil.rmtree(copy / "results" / "CAFs_preds")
    done = run_script(script, copy, 0, 0, *cell_type, *SMALL, "--learning-rate", "1e-3")
    assert done.returncode == 0, done.stderr
    assert "--learning-rate 0.001" in run_script("data/check_project.py", copy).stdout



def grouped_by_hand(predictions, labels, groups):
    """Pearson R of one column after the mean of each group is taken away, with loops."""
    x, y = predictions.astype(float).copy(), labels.astype(float).copy()
    for group in set(groups):
        members = [i for i, of_row in enumerate(groups) if of_row == group]
        x[members] -= np.mean(x[members])
        y[members] -= np.mean(y[members])
    return np.corrcoef(x, y)[0, 1]


@pytest.mark.parametrize("offset", [0, 1e6])
def test_the_bootstrap_in_folds_is_the_slow_one(offset):
    random = np.random.default_rng(0)
    labels, groups = random.normal(size=(25, 4)), np.arange(25) % 3
    predictions = labels + random.normal(size=(25, 4)) + 5 * groups[:, None]
    labels = labels + offset
    alone = np.r_[np.arange(20), np.zeros(5, int)]     # sites of one patient say nothing
    pooled, r, of_sites = resampling.pearson(predictions, labels, 20, 3, [groups, alone])
    for replicate, rows in zip(r, resampling.resampled(25, 20, seed=3)):
        slow = [grouped_by_hand(predictions[rows, i], labels[rows, i], groups[rows]) for i in range(4)]
        assert np.allclose(replicate, slow, atol=1e-5)
    for replicate, rows in zip(of_sites, resampling.resampled(25, 20, seed=3)):
        slow = [grouped_by_hand(predictions[rows, i], labels[rows, i], alone[rows]) for i in range(4)]
        assert np.allclose(replicate, slow, atol=1e-5)
    assert np.allclose(pooled, resampling.pearson(predictions, labels, 20, 3)[0], atol=1e-5)
    for replicate, rows in zip(pooled, resampling.resampled(25, 20, seed=3)):
        assert np.allclose(replicate, association.pearson(predictions[rows], labels[rows]), atol=1e-5)
    assert np.allclose(association.pearson_within(predictions, labels, groups),
                       [grouped_by_hand(predictions[:, i], labels[:, i], groups) for i in range(4)])


def test_a_draw_without_variance_has_no_r():
    labels = np.r_[np.zeros(5), 1.0][:, None]
    predictions = np.arange(6.0)[:, None]
    r = resampling.pearson(predictions, labels, 200, 0)[0][:, 0]
    constant = [len(set(labels[rows, 0])) == 1 for rows in resampling.resampled(6, 200, 0)]
    assert (np.isnan(r) == constant).all() and any(constant)


def test_folds_of_other_levels_hide_what_folds_know():
    """Each fold predicts the mean of the other folds: pooled R of perfect predictions is below 0, R in folds is 1."""
    random = np.random.default_rng(0)
    folds = np.arange(60) // 12
    signal = random.normal(size=(60, 1))
    labels = signal + 3 * random.normal(size=5)[folds][:, None]
    others = np.array([labels[folds != fold].mean() for fold in range(5)])[folds][:, None]
    assert association.pearson(signal + others, labels)[0] < 0
    assert association.pearson_within(signal + others, labels, folds)[0] == pytest.approx(1)


def test_sites_count_where_there_are_two(copy, run_script):
    table = pd.read_csv(copy / "clinical.csv")
    table["Site"] = ["north", "south", ""] * 20
    table.to_csv(copy / "clinical.csv", index=False)
    done = run_script("prediction/collect_results.py", copy, "--bootstrap", 5)
    assert done.returncode == 0, done.stderr
    genes = pd.read_csv(copy / "results" / "CAFs_genes.csv")
    with h5py.File(copy / "results" / "predictions.h5") as file:
        group = file["expression/CAFs"]
        sites = table.set_index("Patient.ID").loc[group["patient_ids"].asstr()[:], "Site"].to_numpy()
        known = sites != ""
        oracle = [grouped_by_hand(group["predictions"][known, i], group["labels"][known, i], sites[known])
                  for i in range(len(genes))]
    assert np.allclose(genes["pearson_r_in_sites"], oracle, atol=1e-5)
    summary = pd.read_csv(copy / "results" / "summary.csv").set_index("target")
    assert summary.loc["CAFs", "median_r_in_sites"].notna().all() and len(summary.loc["CAFs"]) == 6


@pytest.mark.parametrize("sites, is_grouped", [("aabb", True), ("aab ", True), ("abcd", False), ("ab  ", False),
                                               ("aaaa", False), ("aa  ", False), ("    ", False)])
def test_sites_of_one_patient_each_or_of_all_are_no_groups(sites, is_grouped):
    patients = np.array(["P0", "P1", "P2", "P3"])
    predicted = out_of_fold.OutOfFold(patients, np.array(["G"]), np.ones((4, 1)), np.ones((4, 1)))
    site_of = dict(zip([*patients, "not predicted"], [*map(str.strip, sites), "z"]))
    assert ("sites" in out_of_fold.with_sites(predicted, site_of).groups) == is_grouped


def test_an_interval_of_95_percent_leaves_out_5():
    assert resampling.interval(np.arange(1001)) == pytest.approx((25, 975))


def test_weighted_auc_is_that_of_repeated_samples():
    random = np.random.default_rng(0)
    labels, scores = (random.random(30) < 0.4).astype(float), random.integers(0, 6, 30).astype(float)
    weights = resampling.draws(30, 20, 0)
    plain = [association.delong(np.repeat(labels, w), np.repeat(scores, w))[0] for w in weights]
    assert np.allclose(association.weighted_auc(labels, scores, weights), plain, equal_nan=True)


def test_the_checksum_of_a_target_knows_its_labels_and_that_of_slides_their_means(tmp_path):
    project = simulated_cohort.write(tmp_path / "project", n_patients=10)
    target, slides = (read() for read in (
        lambda: targets_file.read_abundance(project / "targets.h5"),
        lambda: features_file.read_slides(project / "features.h5")))
    with h5py.File(project / "targets.h5", "r+") as file:
        file["abundance/labels"][:2] = file["abundance/labels"][:2][::-1]
    assert targets_file.read_abundance(project / "targets.h5").sha256 != target.sha256
    with h5py.File(project / "features.h5", "r+") as file:
        means = file["mean_features"][:]
        means[0, 0] += 1
        file["mean_features"][:] = means
    assert features_file.read_slides(project / "features.h5").sha256 != slides.sha256
    assert checksums.of_content(slides.mean_features) != checksums.of_content(means)


def test_the_mean_of_inner_models_is_collected(home):
    folds = list(itertools.product(range(3), range(2)))
    found = out_of_fold.collect(home / "results", "CAFs", folds)
    firsts = out_of_fold.collect(home / "results", "CAFs", [(outer, 0) for outer in range(3)])
    seconds = out_of_fold.collect(home / "results", "CAFs", [(outer, 1) for outer in range(3)])
    assert np.allclose(found.predictions, (firsts.predictions + seconds.predictions) / 2, atol=1e-6)
    assert not np.allclose(firsts.predictions, seconds.predictions, atol=1e-3)


def test_the_penalty_of_the_baseline_is_not_chosen_on_test_labels():
    """Labels of the rows to predict may be anything, or not there at all."""
    features, _, labels, _ = problem(n=40)
    train, valid, test = np.arange(20), np.arange(20, 30), np.arange(30, 40)
    ridges = baselines.ridges(features, train, valid)
    expected = baselines.ridge(ridges, labels, test)
    labels[test] = np.nan
    assert np.array_equal(baselines.ridge(ridges, labels, test), expected)
    labels[valid] = -labels[valid]
    assert not np.allclose(baselines.ridge(ridges, labels, test), expected)
