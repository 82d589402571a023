"""Classifiers and scores of response: laws, scikit-learn by hand, and a leak that the test of chance would see."""
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterSampler, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from evaluation import association
from response import classifiers, cohorts, feature_sets, scoring


@pytest.fixture
def one_classifier(monkeypatch):
    """Logistic regression alone, without a search of its penalty."""
    all_of_them = classifiers.classifiers
    monkeypatch.setattr(classifiers, "classifiers",
                        lambda seed: {"logistic": (all_of_them(seed)["logistic"][0], {"C": [0.1]})})


def cohort(n_patients=48, n_features=40, signal=1.5, seed=0):
    """Features, of which the first three tell the response, and the response."""
    random = np.random.default_rng(seed)
    y = np.tile([0.0, 1.0], n_patients // 2)
    x = random.normal(size=(n_patients, n_features))
    x[:, :3] += signal * y[:, None]
    return x, y


def out_of_fold(sets, y, repeats=1, n_search=1, processes=1, rows=None, seed=0):
    """Scores of feature sets (dict of name to x) inside a cohort; DataFrame."""
    ids = [f"P{i:03d}" for i in range(len(y))]
    patients = cohorts.Patients(ids, y, ids, y)
    arrays = {name: (x, x) for name, x in sets.items()}
    parts = scoring.draw_parts(patients, True, repeats, seed)
    fitted = scoring.of_sets(arrays, y, parts, n_search, processes)
    return scoring.of_rows(rows or {name: (name,) for name in sets}, fitted, arrays, parts, ids)


def test_all_classifiers_find_what_is_there_and_a_patient_alone_has_the_same_score():
    x, y = cohort()
    new_x, new_y = cohort(seed=1)
    pipelines, inner_auc = classifiers.fit(x, y, n_search=2, seed=0)
    assert len(pipelines) == len(classifiers.classifiers(0)) and inner_auc > 0.8
    for pipeline in pipelines:
        assert association.delong(new_y, pipeline.predict_proba(new_x)[:, 1])[0] > 0.8, pipeline
    scores = classifiers.score(pipelines, new_x)
    assert scores.min() >= 0 and scores.max() <= 1
    assert np.allclose([classifiers.score(pipelines, row[None])[0] for row in new_x], scores, atol=1e-6)


@pytest.mark.parametrize("n_other", [0, 1])
def test_features_that_do_not_vary_tell_nothing(n_other):
    """A clinical column with one value, or with another one in a single patient, in some folds constant."""
    _, y = cohort()
    x = np.ones((len(y), 1))
    x[:n_other] = 2
    scores, inner_auc = classifiers.fit_and_score(x, y, x[:3], 1, 0)
    assert 0 < inner_auc < 1 and ((scores > 0) & (scores < 1)).all()
    if not n_other:
        assert inner_auc == .5 and np.ptp(scores) == 0


def test_a_pipeline_is_that_of_scikit_learn_by_hand():
    """Each step and the search in loops: settings, inner folds, the best setting on all patients."""
    x, y = cohort(n_features=30)
    x[:, 7] = 1  # so that VarianceThreshold has something to do
    pipelines, _ = classifiers.fit(x, y, n_search=4, seed=3)
    logistic, space = classifiers.classifiers(3)["logistic"]

    def probabilities(setting, train, new):
        kept = np.flatnonzero(x[train].var(0) > 0)
        f, _ = f_classif(x[train][:, kept], y[train])
        kept = np.sort(kept[np.argsort(-f)[:setting["best__k"]]])
        mean, deviation = x[train][:, kept].mean(0), x[train][:, kept].std(0)
        of_classifier = {name.partition("classify__")[2]: setting[name] for name in setting if name != "best__k"}
        model = clone(logistic).set_params(**of_classifier).fit((x[train][:, kept] - mean) / deviation, y[train])
        return model.predict_proba((x[new][:, kept] - mean) / deviation)[:, 1]

    space = {"best__k": [5, 10, 15, 20, 25]} | {f"classify__{name}": values for name, values in space.items()}
    settings = list(ParameterSampler(space, 4, random_state=3))
    folds = list(StratifiedKFold(3, shuffle=True, random_state=3).split(x, y))
    aucs = [np.mean([association.delong(y[new], probabilities(setting, train, new))[0] for train, new in folds])
            for setting in settings]
    everyone = np.arange(len(y))
    expected = probabilities(settings[int(np.argmax(aucs))], everyone, everyone)
    assert np.allclose(pipelines[0].predict_proba(x)[:, 1], expected, atol=1e-6)


@pytest.mark.usefixtures("one_classifier")
def test_scores_inside_a_cohort_are_means_of_folds_by_hand():
    x, y = cohort(n_features=4)
    expected = np.zeros(len(y))
    for seed in (0, 1):
        for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(x, y):
            scale = StandardScaler().fit(x[train])
            # by another solver, of the same objective
            model = LogisticRegression(C=0.1, tol=1e-8, max_iter=10000, solver="saga", l1_ratio=0.5,
                                       **classifiers.ELASTIC_NET).fit(scale.transform(x[train]), y[train])
            expected[test] += model.predict_proba(scale.transform(x[test]))[:, 1] / 2
    assert np.allclose(out_of_fold({"a": x}, y, repeats=2)["a"], expected, atol=5e-3)


def test_missing_values_take_the_median_of_training():
    x, y = cohort(n_features=4)
    x[::5, 0] = np.nan
    pipelines, _ = classifiers.fit(x, y, n_search=1, seed=0)
    missing = np.full((1, 4), np.nan)
    assert np.allclose(classifiers.score(pipelines, missing),
                       classifiers.score(pipelines, np.nanmedian(x, axis=0)[None]))


@pytest.mark.usefixtures("one_classifier")
def test_shuffled_responses_have_auc_one_half_unless_genes_are_chosen_before_the_folds():
    random = np.random.default_rng(0)
    honest, leaking = [], []
    for seed in range(12):
        x, y = random.normal(size=(60, 200)), random.permutation(np.tile([0.0, 1.0], 30))
        chosen = SelectKBest(f_classif, k=10).fit_transform(x, y)  # by all patients: the mistake
        for found, values in ((honest, x), (leaking, chosen)):
            found.append(association.delong(y, out_of_fold({"a": values}, y, seed=seed)["a"].to_numpy()))
    honest, leaking = np.array(honest), np.array(leaking)
    assert abs(honest[:, 0].mean() - 0.5) < 2.5 * standard_error(honest[:, 0])
    assert ((honest[:, 1] <= 0.5) & (0.5 <= honest[:, 2])).sum() >= 9
    assert leaking[:, 0].mean() - 0.5 > 5 * standard_error(leaking[:, 0])


def standard_error(values):
    return values.std(ddof=1) / len(values) ** 0.5


@pytest.mark.slow
def test_processes_do_not_change_scores():
    x, y = cohort(n_features=4)
    assert out_of_fold({"a": x}, y, processes=1).equals(out_of_fold({"a": x}, y, processes=2))


@pytest.mark.usefixtures("one_classifier")
def test_the_top_triple_is_chosen_in_training_data():
    """Four sets of signal and one of noise: noise is not among the three; scores are means of the members'."""
    sets = {name: cohort(seed=i, signal=signal)[0]
            for i, (name, signal) in enumerate({"a": 2, "b": 1.5, "c": 0, "d": 1.5}.items())}
    y = cohort()[1]
    top = out_of_fold(sets, y, rows={feature_sets.TOP: tuple(sets), "abd": ("a", "b", "d"), "abc": tuple("abc")})
    assert np.allclose(top[feature_sets.TOP], top["abd"], atol=1e-6)
    assert not np.allclose(top["abd"], top["abc"], atol=1e-2)


@pytest.mark.slow
@pytest.mark.usefixtures("one_classifier")
def test_the_top_triple_of_noise_is_as_good_as_chance():
    random = np.random.default_rng(1)
    aucs = []
    for seed in range(12):
        sets = {name: random.normal(size=(50, 20)) for name in "abcdef"}
        y = random.permutation(np.tile([0.0, 1.0], 25))
        scores = out_of_fold(sets, y, rows={feature_sets.TOP: tuple(sets)}, seed=seed)
        aucs.append(association.delong(y, scores[feature_sets.TOP].to_numpy())[0])
    assert abs(np.mean(aucs) - 0.5) < 2.5 * standard_error(np.array(aucs))


def tables(train, new):
    source = cohorts.Source(None, "results")
    return [cohorts.Cohort(source, {"clinical": table}, {}, {}) for table in (train, new)]


@pytest.mark.parametrize("written, is_told", [
    (["RCB-0", "RCB-0", "RCB-II", "RCB-III"], True), (["0", "0", "1.2", "2.4"], True), (["0", "", "1.2", ""], True),
    (["RCB-0", "RCB-I", "RCB-I", "RCB-III"], False), (["0", "1.2", "1.2", "2.4"], False), (["", "", "1", "2"], False),
    (["1", "1", "1", "1"], False)])
def test_clinical_columns_that_tell_the_response_are_named(written, is_told, caplog):
    table = pd.DataFrame({"Burden": written})
    clinical = feature_sets.in_both(*tables(table, table), 0.4, None)["clinical"][0]
    feature_sets.say_telling(clinical, np.array([True, True, False, False]))
    assert ("alone tells the response" in caplog.text) == is_told
    feature_sets.say_telling(clinical, np.array([False, False, True, True]))
    assert (caplog.text.count("alone tells the response") == 2) == is_told


def test_clinical_columns_are_numbers_or_categories_of_training():
    train = pd.DataFrame({"Age": ["50", "", "61"], "ER": ["pos", "neg", ""]}, ["A", "B", "C"])
    new = pd.DataFrame({"Age": ["40"], "ER": ["unknown"]}, ["D"])
    of_train, of_new = feature_sets.in_both(*tables(train, new), 0.4, None)["clinical"]
    assert list(of_train) == ["Age", "ER=neg", "ER=pos"] == list(of_new)
    assert np.array_equal(of_train, [[50, 0, 1], [np.nan, 1, 0], [61, 0, 0]], equal_nan=True)
    assert np.array_equal(of_new, [[40, 0, 0]])
