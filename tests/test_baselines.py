"""Ridge against scikit-learn; nothing that only test slides know helps."""
import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

import mixed_cells
import simulated_cohort
from evaluation import association, baselines
from slide_ex.project import features_file, targets_file
from training import patient_splits


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    project = simulated_cohort.write(tmp_path_factory.mktemp("baselines"), n_patients=100)
    slides = features_file.read_slides(project / "features.h5")
    splits = patient_splits.draw(sorted(set(slides.patient_ids)), 5, 2, 42)
    return project, slides, targets_file.read_expression(project / "targets.h5", "CAFs"), splits


def r_of(cohort, model, slides=None, bulk_path=None):
    project, own_slides, target, splits = cohort
    folds = [(k, i) for k in range(5) for i in (0, 1)]
    predicted = baselines.predict(model, slides or own_slides, target, splits, folds, bulk_path, 42)
    return predicted and association.pearson(predicted.predictions, predicted.labels)


def test_ridge_is_that_of_scikit_learn_at_its_best_penalty(cohort, monkeypatch):
    _, slides, target, _ = cohort
    inputs, labels, train, valid, test = (slides.mean_features, target.of_slides(slides), np.arange(60),
                                          np.arange(60, 80), np.arange(80, 104))
    centred = inputs[train] - inputs[train].mean(0)
    scale = np.square(centred).sum() / len(train)
    candidates = [Ridge(alpha=penalty * scale).fit(inputs[train], labels[train]) for penalty in baselines.PENALTIES]
    scores = [association.pearson(ridge.predict(inputs[valid]), labels[valid]).mean() for ridge in candidates]
    expected = candidates[int(np.argmax(scores))].predict(inputs[test])
    assert np.allclose(baselines.ridge(baselines.ridges(inputs, train, valid), labels, test), expected, atol=1e-3)


@pytest.mark.parametrize("n_inputs", [3, 24, 100])    # fewer than slides, and more
def test_one_decomposition_serves_all_labels_and_penalties(n_inputs):
    random = np.random.default_rng(0)
    inputs, train, valid, known = random.normal(3, size=(60, n_inputs)), np.arange(0, 60, 2), np.arange(1, 60, 2), {}
    of_train = baselines.ridges(inputs, train, valid, known)
    assert baselines.ridges(inputs, train, valid, known) is of_train and len(known) == 1
    assert len(of_train.values) == min(n_inputs, len(train) - 1) and of_train.is_dual == (n_inputs > 3)
    labels = random.normal(size=(60, 3)).astype(np.float32)
    x, centred = inputs - inputs[train].mean(0), association.centred(labels[train])
    scale = np.square(x[train]).sum() / len(train)
    for penalty in baselines.PENALTIES:
        expected = x @ Ridge(alpha=penalty * scale, fit_intercept=False).fit(x[train], centred).coef_.T
        assert np.allclose(of_train.of(np.arange(60), penalty) @ of_train.seen(centred), expected, atol=1e-4)


def test_what_is_decomposed_before_is_all_that_targets_of_these_patients_need(cohort, monkeypatch):
    _, slides, target, splits = cohort
    folds = [(0, 0), (0, 1), (3, 1)]
    expected = [baselines.predict(model, slides, target, splits, folds, None, 42) for model in ("ridge", "mean colour")]
    known = baselines.decompose(slides, target.patient_ids, splits, folds)
    monkeypatch.setattr(baselines.gram, "decomposed", None)
    for model, before in zip(("ridge", "mean colour"), expected):
        now = baselines.predict(model, slides, target, splits, folds, None, 42, known)
        assert np.array_equal(now.predictions, before.predictions)


def test_what_is_kept_of_features_does_not_serve_colours_though_there_are_three_of_both(cohort):
    _, slides, target, splits = cohort
    slides, folds, kept = dataclasses.replace(slides, mean_features=slides.mean_features[:, :3]), [(0, 0), (0, 1)], {}
    for model in ("ridge", "mean colour"):
        shared, alone = (baselines.predict(model, slides, target, splits, folds, None, 42, known).predictions
                         for known in (kept, None))
        np.testing.assert_array_equal(shared, alone)


def test_signal_is_found_and_chance_is_not(cohort):
    assert np.median(r_of(cohort, "ridge")) > 0.5
    assert abs(np.median(r_of(cohort, "shuffled labels"))) < 0.25
    assert abs(np.median(r_of(cohort, "mean colour"))) < 0.25
    assert r_of(cohort, "bulk target") is None


def test_labels_are_shuffled_as_the_seed_says(cohort):
    target = cohort[2]
    first, same, other = (baselines.shuffled(target, seed).labels for seed in (0, 0, 1))
    assert np.array_equal(first, same) and not np.array_equal(first, other)
    assert sorted(map(tuple, first)) == sorted(map(tuple, target.labels))
    _, slides, _, splits = cohort
    predicted = [baselines.predict("shuffled labels", slides, target, splits, [(0, 0)], None, seed).predictions
                 for seed in (0, 1)]
    assert not np.allclose(*predicted)


def test_bulk_target_is_trained_on_bulk_and_compared_with_labels(cohort, tmp_path):
    _, _, target, _ = cohort
    columns = "\t".join(target.patient_ids)
    rows = ["\t".join([gene, *(f"{2 ** value - 1:.6f}" for value in values)])
            for gene, values in zip(target.outputs[:5], np.abs(target.labels.T))]
    (tmp_path / "bulk.tsv").write_text("\n".join([f"gene\t{columns}", *rows]))
    of_bulk = r_of(cohort, "bulk target", bulk_path=tmp_path / "bulk.tsv")
    assert len(of_bulk) == 5 and np.median(of_bulk) > 0.4
    noise = np.random.default_rng(0).random((5, len(target.patient_ids)))
    rows = ["\t".join([gene, *map(str, values)]) for gene, values in zip(target.outputs, noise)]
    (tmp_path / "noise.tsv").write_text("\n".join([f"gene\t{columns}", *rows]))
    assert abs(np.median(r_of(cohort, "bulk target", bulk_path=tmp_path / "noise.tsv"))) < 0.3


def test_what_only_test_slides_know_gains_nothing(cohort):
    """Labels are noise, and a feature shows them, but only on the test slides of one fold: R stays about 0 there."""
    _, slides, target, splits = cohort
    target = dataclasses.replace(target, labels=np.random.default_rng(1).normal(size=target.labels.shape))
    test, leak = slides.rows_of(splits["outer"][0]["test"]), slides.mean_features.copy()
    leak[test, :15] = 10 * target.of_slides(slides)[test]
    predicted = baselines.predict("ridge", dataclasses.replace(slides, mean_features=leak), target, splits,
                                  [(0, 0), (0, 1)], None, 42)
    r = association.pearson(predicted.predictions, predicted.labels)
    assert len(predicted.labels) == 20 and abs(np.median(r)) < 0.3


def test_labels_of_the_test_fold_choose_nothing_and_the_ridges_of_all_inner_folds_are_averaged(cohort):
    _, slides, target, splits = cohort
    tested = np.isin(target.patient_ids, splits["outer"][0]["test"])
    labels = target.labels.copy()
    labels[tested] = 3 - labels[tested]
    changed = dataclasses.replace(target, labels=labels)
    both, same, first, second = (
        baselines.predict("ridge", slides, of_labels, splits, folds, None, 42).predictions for of_labels, folds in (
            (target, [(0, 0), (0, 1)]), (changed, [(0, 0), (0, 1)]), (target, [(0, 0)]), (target, [(0, 1)])))
    assert np.array_equal(both, same)
    assert np.allclose(both, (first + second) / 2, atol=1e-5) and not np.allclose(first, second, atol=1e-3)
    found = baselines.predict("ridge", slides, target, splits, [(1, 0), (3, 0)], None, 42)
    fold_of = {patient: k for k in (1, 3) for patient in splits["outer"][k]["test"]}
    assert dict(zip(found.patient_ids.tolist(), found.groups["folds"].tolist())) == fold_of


def test_bulk_is_joined_by_gene_and_patient(cohort, tmp_path):
    target = cohort[2]
    (tmp_path / "bulk_expression.tsv").write_text("gene\tP001\tP000\nGENE4\t3\t0\nGENE2\t1\t7\nother\t5\t5\n")
    bulk = baselines.read_bulk(tmp_path / "bulk_expression.tsv", target)
    assert list(bulk.patient_ids) == ["P000", "P001"] and list(bulk.outputs) == ["GENE2", "GENE4"]
    assert bulk.labels.tolist() == [[3, 0], [1, 2]]


def test_bulk_under_ensembl_ids_is_named_by_its_symbols_or_no_baseline(cohort, tmp_path, caplog):
    _, slides, target, splits = cohort
    ids = ["ENSG00000000004.1", "ENSG00000000002.3"]
    for name, symbols in (("with", ["GENE4", "GENE2"]), ("without", None)):
        table = pd.DataFrame({"gene_name": symbols, "P001": [3, 1], "P000": [0, 7]}, pd.Index(ids, name="gene_id"))
        table.dropna(axis=1).to_csv(tmp_path / f"{name}.tsv", sep="\t")
    assert list(baselines.read_bulk(tmp_path / "with.tsv", target).outputs) == ["GENE2", "GENE4"]
    with caplog.at_level("INFO"):
        assert baselines.predict("bulk target", slides, target, splits, [(0, 0)], tmp_path / "without.tsv", 42) is None
    assert "none of its genes is named in without.tsv (ENSG00000000004.1" in caplog.text


@pytest.mark.parametrize("part, n_left", [("train", 0), ("train", 1), ("valid", 0), ("test", 0)])
def test_a_part_that_is_too_small_has_no_baseline(cohort, part, n_left, recwarn):
    """Patients with slides but without bulk can leave a fold with next to nobody; there are no NaNs and no warnings."""
    project, slides, target, splits = cohort
    fold = splits["outer"][0]
    few = {"test": fold["test"], **fold["inner"][0]}[part]
    with_one_slide = [patient for patient in few if (slides.patient_ids == patient).sum() == 1]
    kept = ~np.isin(target.patient_ids, few) | np.isin(target.patient_ids, with_one_slide[:n_left])
    fewer = dataclasses.replace(target, patient_ids=target.patient_ids[kept], labels=target.labels[kept])
    assert baselines.predict("ridge", slides, fewer, splits, [(0, 0)], project / "none", 42) is None
    assert not recwarn.list


def test_bulk_in_logarithms_is_read_as_the_deconvolution_was_told(tmp_path, run_script):
    data, tables = mixed_cells.mix(n_genes=80, n_patients=11), {}
    for name, bulk, more in (("linear", data["bulk"], []), ("log", np.log2(data["bulk"] + 1), ["--log2"])):
        project = mixed_cells.write(tmp_path / name, data | {"bulk": bulk})
        done = run_script("deconvolution/1main_deconvolution.py", project, *more)
        assert done.returncode == 0, done.stderr
        tables[name] = baselines.bulk_table(project / "bulk_expression.tsv")
    np.testing.assert_allclose(tables["log"], tables["linear"], rtol=1e-6)
