"""States, donors and purity beside the reference: laws of the model, tables of a project, and the script."""
import shutil

import numpy as np
import pandas as pd
import pytest

import mixed_cells
from model import (
    cell_fractions,
    confidence,
    expression_model,
    factor_model,
    rank_correlation,
    reference_states,
    tumour_purity,
)
from sources import inputs_of_project, malignant_types, purity_table, state_tables

SCRIPT = "deconvolution/1main_deconvolution.py"


def mixed_states(n_genes=150, n_samples=60, seed=0):
    """Bulk of two types, the first a mixture of three states: bulk, signature of means, States, fractions."""
    random = np.random.default_rng(seed)
    profiles = random.lognormal(3, 1, (n_genes, 4))
    profiles[:100] *= np.array([[20, 1, 1, 1], [1, 20, 1, 1], [1, 1, 20, 1], [1, 1, 1, 9]])[np.arange(100) % 4]
    profiles *= 1e4 / profiles.sum(axis=0)
    first = random.uniform(.2, .8, (n_samples, 1))
    amounts = np.c_[random.dirichlet([.3, .3, .3], n_samples) * first, 1 - first]
    signature = np.c_[profiles[:, :3].mean(axis=1), profiles[:, 3]]
    states = reference_states.of_profiles(profiles[:, :3], np.zeros(3, int), signature)
    return profiles @ amounts.T, signature, states, np.c_[1 - amounts[:, 3], amounts[:, 3]]


def test_fractions_are_nearer_the_truth_where_the_states_are_known():
    bulk, signature, states, truth = mixed_states()
    error = [np.abs(cell_fractions.estimate(bulk, signature, known) - truth).mean() for known in (None, states)]
    assert error[1] < .6 * error[0], error


def test_states_like_their_type_change_no_fraction():
    """Neither the shrinkage of states nor how a type is cut into columns takes from its amount."""
    bulk, signature, _, _ = mixed_states()
    states = reference_states.States(np.ones((len(bulk), 5), np.float32), np.array([0, 0, 0, 0, 1]))
    np.testing.assert_allclose(cell_fractions.estimate(bulk, signature, states),
                               cell_fractions.estimate(bulk, signature), atol=2e-3)


def test_a_state_is_relative_to_its_type_whatever_its_scale():
    random = np.random.default_rng(0)
    reference = random.lognormal(3, 1, (50, 2))
    reference[7] = np.nan
    profiles = np.c_[reference[:, 0] * 1000, reference[:, 1] * random.lognormal(0, 1, 50)]
    profiles[3, 0] = np.nan
    profiles[7] = 5
    states = reference_states.of_profiles(profiles, np.array([0, 1]), reference)
    np.testing.assert_allclose(states.ratio[:, 0], 1, rtol=1e-5)    # the reference itself, and what is not known
    assert states.ratio[7, 1] == pytest.approx(1, rel=.5) and states.ratio[:, 1].std() > .3
    columns, own = states.beside(np.nan_to_num(reference))
    assert columns.shape == (50, 4) and list(own) == [0, 1, 0, 1]


def test_states_that_differ_most_are_kept_and_types_with_many_give_up_first():
    random = np.random.default_rng(0)
    different, alike = random.lognormal(0, 1, (300, 20)), random.lognormal(0, .01, (300, 10))
    np.testing.assert_array_equal(reference_states.different(np.hstack([alike, different]), 20), different)
    assert reference_states.at_most(np.array([60, 30, 10])) == 32
    assert reference_states.at_most(np.array([6, 3, 0])) == 6


@pytest.fixture(scope="module")
def data():
    return mixed_cells.mix()


def factors_with(data, ratio, of_type):
    """Median tau over genes and types of the expression that is estimated with states of these ratios, or without."""
    bulk = data["bulk"].to_numpy()
    level = bulk.mean(axis=1, keepdims=True)
    scaled, fractions = (bulk / level).astype(np.float32), data["fractions"].astype(np.float32)
    means = (data["expression"].mean(axis=2).T / level).astype(np.float32)
    states = None if ratio is None else reference_states.States(ratio.astype(np.float32), of_type)
    done = expression_model.estimate(expression_model.fit(scaled, fractions, means, 8, 20, states), scaled)
    return np.nanmedian([rank_correlation.kendall(*pair) for pair in zip(data["expression"], done)])


def test_what_states_differ_by_is_found_between_patients_and_useless_states_do_no_harm(data):
    mean = data["expression"].mean(axis=2)
    held_out = mixed_cells.mix(n_patients=200)["expression"][:, :, :8] / mean[:, :, None]
    ratio, of_type = np.hstack(held_out), np.repeat(np.arange(4), 8)
    noisy = ratio * np.random.default_rng(1).lognormal(0, .3, ratio.shape)
    useless = np.random.default_rng(1).permutation(ratio)
    plain = factors_with(data, None, None)
    assert factors_with(data, noisy, of_type) > plain + .02
    assert factors_with(data, useless, of_type) > plain - .03


def test_types_without_states_keep_their_free_factors():
    random = np.random.default_rng(0)
    means, fractions = random.random((80, 3)).astype(np.float32), random.dirichlet(np.ones(3), 40).astype(np.float32)
    residual = random.standard_normal((80, 40)).astype(np.float32)
    states = reference_states.States(random.lognormal(0, .5, (80, 2)).astype(np.float32), np.array([1, 1]))
    factors = factor_model.fit(residual, means, fractions, 4, n_sweeps=3, directions=states.directions(means))
    assert factors.loadings.shape == (3, 80, 6) and factors.scores.shape == (3, 40, 6)
    assert (factors.loadings[0, :, 4:] == 0).all() and (factors.loadings[1] != 0).any(axis=0).all()


# Purity

def of_first(values):
    return tumour_purity.Purity(np.asarray(values, float), np.array([True, False]))


def test_purity_corrects_fractions_as_far_as_it_is_surer_than_bulk():
    bulk, signature, states, truth = mixed_states()
    alone = cell_fractions.estimate(bulk, signature)
    measured = of_first(truth[:, 0]).drawn(truth, np.random.default_rng(1))
    with_purity = cell_fractions.estimate(bulk, signature, None, measured)
    error = [np.sqrt(np.mean((estimate - truth) ** 2)) for estimate in (alone, with_purity)]
    assert error[1] < .8 * error[0] and error[1] < 1.1 * tumour_purity.SD
    np.testing.assert_allclose(with_purity.sum(axis=1), 1, atol=1e-5)
    agreeing = of_first(alone[:, 0])
    assert agreeing.odds(alone) == 0
    np.testing.assert_allclose(cell_fractions.estimate(bulk, signature, None, agreeing), alone, atol=5e-3)


def test_purity_moves_the_malignant_fraction_by_its_share_of_the_information():
    """Two types, quadratic: with odds o the estimate is (bulk + o purity) / (1 + o)."""
    gram, amounts = np.array([[[2., .5], [.5, 1]]]), np.array([[.5, .5]])
    added = of_first([.8]).information(gram, 3)
    moved = np.linalg.solve(gram + added, gram @ amounts[:, :, None])[0, :, 0]
    contrast = np.array([.2, -.8])
    assert contrast @ moved == pytest.approx(contrast @ amounts[0] / 4)


def test_purity_of_other_patients_is_refused():
    bulk, signature, _, truth = mixed_states()
    measured = of_first(truth[:, 0])
    assert "r = " in measured.agreement(truth)
    with pytest.raises(ValueError, match="do not go together"):
        of_first(np.random.default_rng(0).permutation(truth[:, 0])).agreement(truth)


@pytest.mark.parametrize("name, is_malignant", [
    ("Cancer Epithelial", True), ("Cancer_Epithelial", True), ("Malignant", True), ("tumour cells", True),
    ("Melanoma cells", True), ("CAFs", False), ("Cancer-associated fibroblasts", False), ("Non-malignant", False),
    ("Tumor-infiltrating lymphocytes", False), ("Normal Epithelial", False), ("Epithelial", False)])
def test_malignant_types_are_known_by_their_name_alone(name, is_malignant):
    assert malignant_types.of([name, "T-cells"]) == [name] * is_malignant


def test_malignant_types_are_as_stated():
    assert malignant_types.of(["Epi", "Cancer", "T"], ["Epi"]) == ["Epi"]
    with pytest.raises(ValueError, match="no cell type of the signature"):
        malignant_types.of(["Epi", "T"], ["epi"])


# Tables of a project

def loaded(folder):
    return inputs_of_project.load(inputs_of_project.paths(folder), None, .5, None)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, data):
    """A project with states of all types and donors of two."""
    folder = mixed_cells.write(tmp_path_factory.mktemp("states") / "cohort", data)
    expression, genes = data["expression"], data["bulk"].index
    pd.DataFrame({f"{name}: s{j}": expression[k][:, j::5].mean(axis=1) for k, name in enumerate(mixed_cells.TYPES)
                  for j in range(5)}, genes).iloc[:-9].to_csv(folder / "reference_states.tsv.gz", sep="\t")
    donors = {f"{mixed_cells.TYPES[k]}: P{j}": expression[k][:, j] for k in (0, 1) for j in range(7)}
    pd.DataFrame(donors, genes).to_csv(folder / "reference_donors.tsv", sep="\t")
    purity = data["fractions"][:, 0].clip(.02, .98).round(3)
    pd.DataFrame({"Patient.ID": data["bulk"].columns, "Response": "pCR", "Purity": purity}).to_csv(
        folder / "clinical.csv", index=False)
    return folder


def test_states_of_all_types_and_donors_of_malignant_ones_are_read(cohort):
    found = loaded(cohort)
    states = state_tables.read(state_tables.paths(cohort), found, None, ["Cancer Epithelial"])
    assert np.bincount(states.of_type).tolist() == [12, 5, 5, 5] and states.ratio.shape == (240, 27)
    assert (states.ratio[-9:, -8:] == 1).all()    # genes that reference_states lacks
    assert ("reference_donors.tsv: 7 of Cancer Epithelial; not of these, not used: 7 (T-cells: P0, T-cells: P1, "
            "T-cells: P2 and 4 more)") in found.notes
    assert state_tables.read({}, found, None, []) is None
    for malignant, words in (([], "--malignant"), (["CAFs"], "no donor of CAFs")):
        found.notes.clear()
        assert len(state_tables.read(state_tables.paths(cohort), found, None, malignant).of_type) == 20
        assert any(words in note for note in found.notes)


@pytest.mark.parametrize("change, words", [
    (lambda t: t.rename(columns=lambda c: c.replace(": ", "_")), "'<cell type>: <state>'"),
    (lambda t: t.rename(index="X{}".format), "no gene in common"),
    (lambda t: np.log2(t + 1), "logarithms"),
    (lambda t: t.assign(**{"CAFs: s1": 0.}), "nothing but zeros for CAFs: s1")])
def test_states_that_cannot_be_used_are_refused(cohort, tmp_path, change, words):
    table = pd.read_csv(cohort / "reference_states.tsv.gz", sep="\t", index_col=0)
    change(table).to_csv(tmp_path / "reference_states.tsv", sep="\t")
    with pytest.raises(ValueError, match=words):
        state_tables.read(state_tables.paths(tmp_path), loaded(cohort), None, [])


@pytest.mark.parametrize("change, words", [
    (lambda t: t.assign(Purity=t["Purity"] * 100), "percent"),
    (lambda t: t.assign(Purity=t["Purity"] * 3 - 1), "outside 0 to 1"),
    (lambda t: t.assign(Purity=.5), "in all patients"),
    (lambda t: t.assign(Purity="high"), "no number"),
    (lambda t: t.iloc[1:], "no purity of 1 of 60 patients of bulk: P000"),
    (lambda t: t.assign(Purity=t["Purity"].astype(str).where(t.index != 4, "NA")), "no purity of 1 of 60.*P004"),
    (lambda t: t.rename(columns={"Purity": "ABSOLUTE"}), "no column Purity"),
    (lambda t: t.assign(**{"Patient.ID": "X" + t["Patient.ID"]}), "no purity of any patient"),
    (lambda t: pd.concat([t, t.iloc[:1]]), "more than one row for 1 .P000")])
def test_what_can_be_no_purity_is_refused(cohort, tmp_path, change, words):
    path = tmp_path / "purity.csv"
    change(pd.read_csv(cohort / "clinical.csv")).to_csv(path, index=False)
    with pytest.raises(ValueError, match=words):
        purity_table.of_patients(purity_table.read(path), loaded(cohort), ["Cancer Epithelial"], path)


def test_purity_is_read_from_two_columns_too(cohort, tmp_path):
    table = pd.read_csv(cohort / "clinical.csv").drop(columns="Response")
    table.iloc[::-1].to_csv(tmp_path / "purity.tsv", sep="\t", index=False, header=["sample", "ESTIMATE"])
    found = purity_table.of_patients(purity_table.read(tmp_path / "purity.tsv"), loaded(cohort), ["Cancer Epithelial"],
                                     tmp_path / "purity.tsv")
    np.testing.assert_allclose(found.values, table["Purity"])
    assert found.malignant.tolist() == [True, False, False, False]


# As a user runs it

def test_states_and_purity_are_used_said_and_recorded(cohort, tmp_path, run_script):
    project = shutil.copytree(cohort, tmp_path / "project")
    done = run_script(SCRIPT, project, "--purity")
    assert done.returncode == 0, done.stderr
    for words in ("reference_states.tsv.gz: 5 of Cancer Epithelial", "reference_donors.tsv: 7 of Cancer Epithelial",
                  "clinical.csv: purity", "purity is on average"):
        assert words in done.stdout
    summary = pd.read_csv(project / "deconvolution/summary.csv", index_col=0)
    assert summary["n_states"].tolist() == [12, 5, 5, 5]
    assert "skipped" in run_script(SCRIPT, project, "--purity").stdout
    done = run_script(SCRIPT, project, "--purity", "clinical.csv", cwd=tmp_path)
    assert done.returncode == 1 and "clinical.csv" in done.stderr, "a file that is named is not the project's"
    for change, words in ((["--no-states", "--purity"], "no_states"), ([], "purity was"),
                          (["--purity", "--malignant", "T-cells"], "malignant")):
        done = run_script(SCRIPT, project, *change)
        assert done.returncode == 1 and words in done.stderr and "--overwrite" in done.stderr
    (project / "reference_donors.tsv").unlink()
    done = run_script(SCRIPT, project, "--purity")
    assert done.returncode == 1 and "reference_donors" in done.stderr
    assert "reference_donors" in run_script("data/check_project.py", project).stdout
