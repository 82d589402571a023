"""Survival: ridge Cox regression, concordance, Kaplan-Meier and log-rank against statsmodels and loops; the script."""
import argparse
import json
import shutil

import h5py
import numpy as np
import pandas as pd
import predict_response
import pytest
from matplotlib import pyplot as plt
from scipy import optimize
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import SurvfuncRight, survdiff
from test_predict_response import OPTIONS

import simulated_response
from drawing import marks
from drawing import survival as drawn_survival
from drawing.response import name_of
from gdc import tcga_selection
from response import cox, survival
from slide_ex.project import clinical_file

SCRIPT = "prediction/predict_response.py"
QUICK = ("--repeats", 1, "--bootstrap", 100, "--processes", 1, "--endpoint", "Time,Event")


def simulated(n=80, n_features=4, effect=1., seed=0, ties=False):
    """x, y of patients whose log hazard is effect * x[:, 0]; a third is censored."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, n_features))
    time, last_seen = rng.exponential(np.exp(-effect * x[:, 0])), rng.exponential(2, n)
    y = np.c_[np.minimum(time, last_seen), time <= last_seen].astype(float)
    y[:, 0] = np.ceil(y[:, 0] * 5) if ties else y[:, 0]
    return x, y


@pytest.mark.parametrize("ties", [False, True])
def test_likelihood_and_derivatives_are_those_of_statsmodels(ties):
    x, y = simulated(ties=ties)
    model = PHReg(y[:, 0], x, status=y[:, 1], ties="breslow")
    for coefficients in np.random.default_rng(1).normal(size=(3, 4)):
        slope, curvature = cox.derivatives(x @ coefficients, y)
        assert np.isclose(cox.log_likelihood(x @ coefficients, y), model.loglike(coefficients))
        np.testing.assert_allclose(x.T @ slope, model.score(coefficients), atol=1e-8)
        np.testing.assert_allclose(-x.T @ curvature @ x, model.hessian(coefficients), atol=1e-8)


def test_without_a_penalty_it_is_cox_regression():
    x, y = simulated()
    np.testing.assert_allclose(cox.fit(x, y, 0, np.zeros(4)), PHReg(y[:, 0], x, status=y[:, 1]).fit().params, atol=1e-5)


@pytest.mark.parametrize("n_features", [3, 35])
def test_the_path_minimises_the_penalised_likelihood(n_features):
    """Also with more features than patients, against a minimiser that knows only a loop over events."""
    x, y = simulated(25, n_features)
    z, _ = cox.standardised(x, x)

    def loss(coefficients, penalty):
        log_hazard, total = z @ coefficients, 0.
        for i in np.flatnonzero(y[:, 1]):
            total += log_hazard[i] - np.log(np.exp(log_hazard[y[:, 0] >= y[i, 0]]).sum())
        return penalty * coefficients @ coefficients / 2 - total

    for prior_sd, scores in zip((0.2, 0.8), cox.paths(x, y, x, (0.2, 0.8))):
        expected = optimize.minimize(loss, np.zeros(n_features), n_features / prior_sd ** 2, tol=1e-8).x
        np.testing.assert_allclose(scores, z @ expected, atol=1e-4)


def test_scores_do_not_depend_on_units_constants_and_who_else_is_scored():
    x, y = simulated(60)
    new = simulated(20, seed=5)[0]
    scores, _ = cox.fit_and_score(x, y, new, 0, 0)
    def changed(table):
        return np.c_[table * [1e-3, 1, 10, 1] + [5, 0, 0, 0], np.full(len(table), 7.)]

    np.testing.assert_allclose(cox.fit_and_score(changed(x), y, changed(new), 0, 0)[0], scores, atol=1e-5)
    np.testing.assert_allclose(cox.fit_and_score(x, y, new[3:4], 0, 0)[0], scores[3:4])
    with_gap = np.where(np.arange(4) == 1, np.nan, new[:1])
    filled = np.where(np.arange(4) == 1, np.median(x[:, 1]), new[:1])
    np.testing.assert_allclose(cox.fit_and_score(x, y, with_gap, 0, 0)[0], cox.fit_and_score(x, y, filled, 0, 0)[0])


def test_signal_is_found_and_none_is_not_made_up():
    x, y = simulated(200, 100, effect=1.2)
    new, new_y = simulated(200, 100, effect=1.2, seed=9)
    scores, inner = cox.fit_and_score(x, y, new, 0, 0)
    assert survival.concordance(new_y, scores) > .62 and inner > .6
    strongest = np.abs(cox.fit_and_score(*simulated(200, 100, effect=0), new, 0, 0)[0]).max()
    assert strongest < .3 * np.abs(scores).max()
    assert not cox.fit_and_score(np.ones((60, 3)), simulated(60)[1], np.ones((5, 3)), 0, 0)[0].any()


def counted_pairs(y, scores):
    total = agreed = 0.
    for (time, event), score in zip(y, scores):
        for (other_time, other_event), other in zip(y, scores):
            if event and (time < other_time or time == other_time and not other_event):
                total += 1
                agreed += 1 if score > other else .5 if score == other else 0
    return agreed / total


def test_concordance_counts_pairs():
    x, y = simulated(50, ties=True)
    scores = x[:, 0].round(1)
    assert survival.concordance(y, scores) == pytest.approx(counted_pairs(y, scores))
    drawn = np.random.default_rng(0).integers(0, 50, 50)
    weights = np.bincount(drawn, minlength=50)[None]
    assert survival.concordance(y, scores, weights)[0] == pytest.approx(counted_pairs(y[drawn], scores[drawn]))
    without_ties = simulated(50)[1]
    assert survival.concordance(without_ties, -without_ties[:, 0]) == 1
    assert np.isnan(survival.concordance(y * [1, 0], scores))


@pytest.mark.parametrize("ties", [False, True])
def test_kaplan_meier_and_log_rank_are_those_of_statsmodels(ties):
    x, y = simulated(90, ties=ties)
    expected = SurvfuncRight(y[:, 0], y[:, 1])
    found = survival.kaplan_meier(y)
    np.testing.assert_allclose(found["survival"][1:], expected.surv_prob[expected.n_events > 0])
    np.testing.assert_allclose(found["n_at_risk"][1:], expected.n_risk[expected.n_events > 0])
    low, high = expected.quantile_ci(.5, method="cloglog")      # where the limits of the curve pass .5
    assert found["time"][(found["survival_low"] <= .5).idxmax()] == low
    assert np.isinf(high) or found["time"][(found["survival_high"] <= .5).idxmax()] == high
    groups = survival.tertiles(x[:, 0])
    assert np.unique(groups, return_counts=True)[1].tolist() == [30, 30, 30]
    assert survival.log_rank(y, groups) == pytest.approx(survdiff(y[:, 0], y[:, 1], groups)[1])
    assert np.isnan(survival.log_rank(y, np.repeat("a", 90)))
    assert (survival.tertiles(np.zeros(9)) == "low").all()


# The script

@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The simulated cohort whose CAF state decides survival."""
    folder = simulated_response.write(tmp_path_factory.mktemp("survival") / "p", n_patients=90)
    clinical = pd.read_csv(folder / "clinical.csv", dtype=str)
    x = pd.DataFrame(state_of_cafs(folder), index=clinical["Patient.ID"])[0]
    rng = np.random.default_rng(3)
    time, last_seen = rng.exponential(1000 * np.exp(-1.5 * x.to_numpy())), rng.exponential(3000, len(x))
    clinical["Time"] = np.minimum(time, last_seen).round().astype(int).astype(str)
    clinical["Event"] = np.where(time <= last_seen, "Dead", "Alive")
    clinical.loc[[4, 7], "Time"] = ["[Not Available]", ""]
    clinical.to_csv(folder / "clinical.csv", index=False)
    return folder


def state_of_cafs(folder):
    """Mean over the robust genes of the CAFs, standardised: (n_patients,)."""
    with h5py.File(folder / "results" / "predictions.h5") as file:
        values = file["expression/CAFs/predictions"][:, :25].mean(axis=1)
    return (values - values.mean()) / values.std()


@pytest.fixture(scope="module")
def compared(project, run_script):
    done = run_script(SCRIPT, project, *QUICK, "--clinical-columns", "Age")
    assert done.returncode == 0, done.stderr
    return project / "survival" / "Event_out_of_fold", done.stdout


def test_the_table_follows_from_the_scores(compared):
    folder, said = compared
    table, scores = (pd.read_csv(folder / name) for name in ("comparison.csv", "scores.csv"))
    assert set(table.kind) == {"cell type", "ensemble", "bulk", "abundance", "direct", "mean colour", "clinical"}
    assert "mean features" in set(table.features) and "direct" not in set(table.features)
    y = scores[["time", "event"]].to_numpy(float)
    assert len(scores) == 88 and (table.n_patients == 88).all() and (table.n_events == y[:, 1].sum()).all()
    assert "no Time or Event known: 2 (P004, P007)" in said and "CAFs: C 0." in said
    for row in table.itertuples():
        assert row.c_index == pytest.approx(counted_pairs(y, scores[row.features]), abs=1e-5)
        assert row.c_index_low <= row.c_index <= row.c_index_high
    table = table.set_index("features")
    assert table.c_index["CAFs"] > .7 and table.p_log_rank["CAFs"] < 1e-4 and .35 < table.c_index["T-cells"] < .65
    assert table.minus_clinical["CAFs"] == pytest.approx(table.c_index["CAFs"] - table.c_index["clinical"], abs=1e-5)
    assert table.minus_clinical_low["CAFs"] > 0 and np.isnan(table.minus_clinical["clinical"])
    curves = pd.read_csv(folder / "kaplan_meier.csv")
    last = curves[curves.features == "CAFs"].groupby("group").survival.last()
    assert last["high"] < last["low"] and (curves.groupby(["features", "group"]).survival.first() == 1).all()


def test_it_is_finished_and_beside_other_endpoints(compared, project, run_script):
    done = run_script(SCRIPT, project, *QUICK, "--clinical-columns", "Age")
    assert "survival: finished" in done.stdout and not done.stderr
    assert json.loads((compared[0] / "settings.json").read_text())["endpoint"] == ["Time", "Event"]
    assert not (project / "response").exists()


@pytest.mark.parametrize("endpoint, clinical_columns, message", [
    (("Time",), [], "--endpoint Time: give two columns of clinical.csv"), (("Time", ""), [], "give two columns"),
    (("Event", "Event"), [], "give two columns"),
    (("Time", "Dead"), [], "has no column Dead"), (("Time", "Grade"), [], "column Grade: '2', '3' is no event"),
    (("Time", "a/b"), [], "cannot be the name of a file"), (("Time", "Event"), ["Time"], "it tells the endpoint"),
    *((("Time", "Event"), [column], "it tells the endpoint") for column in (
        "demographic.days_to_death", "OS_MONTHS", "OS.time", "PFI", "DFS_STATUS", "vital_status"))])
def test_what_is_no_endpoint(project, endpoint, clinical_columns, message):
    with pytest.raises(ValueError, match=message):
        predict_response.main(argparse.Namespace(project_path=project, **OPTIONS | {
            "endpoint": endpoint, "clinical_columns": clinical_columns}))


def test_times_and_events_are_numbers_and_words(tmp_path):
    path = tmp_path / "clinical.csv"

    def known(*rows):
        path.write_text("Patient.ID,T,E\n" + "".join(f"P{i},{time},{event}\n" for i, (time, event) in enumerate(rows)))
        return clinical_file.known_survival(path, "T", "E")
    assert known((1, 1), ("2.5", "1:DECEASED"), (3, "0:LIVING"), (4, "alive"), (5, "TRUE"), ("", 1), (7, "NA")) == {
        "P0": (1, 1), "P1": (2.5, 1), "P2": (3, 0), "P3": (4, 0), "P4": (5, 1)}
    for rows, message in ((((-1, 1), (2, 0)), r"below 0 for 1 \(P0\)"), (((1, 2), (2, 0)), "'2' is no event"),
                          ((("a", 1), ("b", 1), ("a", 0), ("b", 0)), "holds no numbers")):
        with pytest.raises(ValueError, match=message):
            known(*rows)


def test_another_cohort_is_scored(project, tmp_path, run_script):
    new = simulated_response.write(tmp_path / "new", "H", 40, trained="p", seed=1)
    shutil.copytree(project, tmp_path / "p")
    clinical = pd.read_csv(new / "clinical.csv", dtype=str).assign(Time=[*map(str, range(39)), ""],
                                                                    Event=["1", "0"] * 20)
    clinical.to_csv(new / "clinical.csv", index=False)
    done = run_script(SCRIPT, new, "--train-on", tmp_path / "p", *QUICK, "--features", "CAFs", "abundance")
    assert done.returncode == 0, done.stderr
    folder = new / "survival" / "Event_p"
    assert sorted(path.name for path in folder.iterdir()) == ["comparison.csv", "kaplan_meier.csv", "new_patients.csv",
                                                              "scores.csv", "settings.json"]
    assert pd.read_csv(folder / "new_patients.csv").patient_id.tolist() == ["H039"]


def test_too_few_events(project, tmp_path, run_script):
    shutil.copytree(project, tmp_path / "p", ignore=shutil.ignore_patterns("survival"))
    clinical = pd.read_csv(project / "clinical.csv", dtype=str).assign(Event=["1"] * 5 + ["0"] * 85)
    clinical.to_csv(tmp_path / "p" / "clinical.csv", index=False)
    done = run_script(SCRIPT, tmp_path / "p", *QUICK)
    assert done.returncode == 1 and "4 events among the patients with all feature sets; it takes 10" in done.stderr


def test_nobody_lives_longer_where_all_times_are_alike(project, tmp_path, run_script):
    shutil.copytree(project, tmp_path / "p", ignore=shutil.ignore_patterns("survival"))
    clinical = pd.read_csv(project / "clinical.csv", dtype=str).assign(Alike="5")
    clinical.to_csv(tmp_path / "p" / "clinical.csv", index=False)
    done = run_script(SCRIPT, tmp_path / "p", *QUICK[:-1], "Alike,Event")
    assert done.returncode == 1 and "Alike is the same for all patients" in done.stderr, done.stderr


@pytest.mark.parametrize("prefix", [("", "", ""), ("demographic.", "demographic.", "diagnoses.")])
def test_overall_survival_of_gdc(prefix):
    """Of several diagnoses the last follow-up counts; days of the dead are those to death."""
    case = "cases.submitter_id" if prefix[0] else "case_submitter_id"
    vital, death, seen = (a + b for a, b in zip(prefix, ("vital_status", "days_to_death", "days_to_last_follow_up")))
    table = pd.DataFrame([("A", "Alive", "'--", "100"), ("A", "Alive", "'--", "250"), ("B", "Dead", "77", "60"),
                          ("C", "Not Reported", "'--", "9"), ("D", "Dead", "'--", "9"), ("E", "Alive", "'--", "-3"),
                          ("F", "dead", "5", "'--")], columns=[case, vital, death, seen])
    found = tcga_selection.clinical_table(table, set("ABCDEF")).set_index("Patient.ID")
    assert found["Time"].to_dict() == {"A": "250", "B": "77", "C": "", "D": "", "E": "", "F": "5"}
    assert found["Event"].to_dict() == {"A": "0", "B": "1", "C": "", "D": "", "E": "", "F": "1"}
    assert list(found)[:3] == ["Response", "Time", "Event"]
    with pytest.raises(ValueError, match=f"clinical.tsv: {death} holds '7 weeks'"):
        tcga_selection.clinical_table(table.replace("77", "7 weeks"), set("ABCDEF"))


def test_the_figure_shows_the_curves_of_the_best_of_each_kind(compared, project):
    """Of ensembles that of the top triple, which training chose."""
    figure = drawn_survival.survival(project).figure
    table, curves = (pd.read_csv(compared[0] / name) for name in ("comparison.csv", "kaplan_meier.csv"))
    is_shown = table.features.eq("top triple") | ~table.kind.isin(table.kind[table.features == "top triple"])
    best = table.loc[table[is_shown].groupby("kind").c_index.idxmax()].set_index("features")
    titles = [axis.get_title(loc="left").replace("\n", " ") for axis in figure.axes]
    shown = [title.partition(",")[0].rstrip("*") for title in titles]
    assert sorted(shown) == sorted(map(name_of, best.index))
    for axis, title, name in zip(figure.axes, titles, shown):
        features = next(features for features in best.index if name_of(features) == name)
        assert f"C = {best.c_index[features]:.2f}" in title
        of_label = {marks.of(group).label: group for group in ("low", "middle", "high")}
        for line in axis.lines:     # a group without patients has none
            group = of_label[line.get_label().partition(":")[0]]
            expected = curves[(curves.features == features) & (curves.group == group)]
            np.testing.assert_allclose(line.get_xydata(), expected[["time", "survival"]])
    plt.close(figure)
