"""Statistics against SciPy, statsmodels, scikit-learn and the plain definitions."""
import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics
from statsmodels.stats.contingency_tables import Table2x2
from statsmodels.stats.multitest import multipletests

from evaluation import association


@pytest.fixture
def samples():
    random = np.random.default_rng(0)
    labels = random.normal(size=(30, 8))
    return labels * 0.5 + random.normal(size=(30, 8)), labels + 7


def test_pearson_slope_and_p_are_those_of_scipy(samples):
    predictions, labels = samples
    r, slope = association.pearson_and_slope(predictions, labels)
    p = association.one_sided_p(r, len(labels))
    for column in range(labels.shape[1]):
        oracle = stats.linregress(labels[:, column], predictions[:, column], alternative="greater")
        assert np.allclose([r[column], slope[column], p[column]], [oracle.rvalue, oracle.slope, oracle.pvalue])


def test_tensors_give_what_arrays_give(samples):
    tensors = [torch.from_numpy(values) for values in samples]
    assert np.allclose(association.pearson(*tensors), association.pearson(*samples))


@pytest.mark.filterwarnings("ignore:invalid value")
def test_constant_columns_have_no_r_and_do_not_touch_others(samples):
    predictions, labels = samples
    expected = association.pearson(predictions, labels)
    labels, predictions = labels.copy(), predictions.copy()
    labels[:, 0] = 0.1  # not a binary number, so that a mean of it is not exact
    predictions[:, 1] = 1e-3
    r = association.pearson(predictions, labels)
    assert np.isnan(r[:2]).all() and np.array_equal(r[2:], expected[2:])


def test_perfect_correlation_has_p_0_and_two_samples_have_none():
    assert association.one_sided_p(np.array([1.0]), 10) == 0
    assert np.isnan(association.one_sided_p(np.array([0.5]), 2)).all()


@pytest.mark.parametrize("correct, method", [(association.holm_sidak, "holm-sidak"),
                                             (association.benjamini_hochberg, "fdr_bh")])
def test_corrections_are_those_of_statsmodels_and_skip_nan(correct, method):
    p = np.r_[np.random.default_rng(1).uniform(size=50) ** 4, 0.0, 1e-300, 1.0, 0.5, 0.5]
    expected = multipletests(p, method=method)[1]
    assert np.allclose(correct(p), expected, rtol=1e-9)
    with_nan = correct(np.insert(p, 3, np.nan))
    assert np.isnan(with_nan[3]) and np.allclose(np.delete(with_nan, 3), expected, rtol=1e-9)


def test_auc_is_that_of_scikit_learn_with_ties():
    random = np.random.default_rng(2)
    labels, scores = random.integers(0, 2, 60), random.integers(0, 10, 60) / 10
    assert np.isclose(association.delong(labels, scores)[0], metrics.roc_auc_score(labels, scores))
    assert np.isnan(association.delong(np.ones(5), scores[:5])).all()


def test_delong_interval_is_the_definition_over_all_pairs():
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 40)
    scores = np.round(labels + random.normal(size=40), 1)
    wins = np.array([[float(p > n) + 0.5 * (p == n) for n in scores[labels == 0]] for p in scores[labels == 1]])
    variance = wins.mean(1).var(ddof=1) / wins.shape[0] + wins.mean(0).var(ddof=1) / wins.shape[1]
    half = 1.959963984540054 * variance ** 0.5
    assert np.allclose(association.delong(labels, scores), [wins.mean(), max(wins.mean() - half, 0),
                                                            min(wins.mean() + half, 1)])


@pytest.fixture
def two_scores():
    """Labels and two scores of the same samples, related and with ties."""
    random = np.random.default_rng(4)
    labels = random.integers(0, 2, 80)
    shared = random.normal(size=80)
    return labels, *(np.round(effect * labels + shared + random.normal(size=80), 1) for effect in (0.4, 1.2))


def test_paired_delong_is_the_definition_over_all_pairs(two_scores):
    labels, *scores = two_scores
    wins = [np.array([[float(p > n) + 0.5 * (p == n) for n in score[labels == 0]] for p in score[labels == 1]])
            for score in scores]
    covariance = (np.cov(wins[0].mean(1), wins[1].mean(1)) / wins[0].shape[0]
                  + np.cov(wins[0].mean(0), wins[1].mean(0)) / wins[0].shape[1])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    expected = 2 * stats.norm.sf(abs(wins[0].mean() - wins[1].mean()) / variance ** 0.5)
    assert np.isclose(association.delong_paired(labels, *scores), expected)
    assert np.isclose(association.delong_paired(labels, *scores[::-1]), expected)


def test_paired_delong_agrees_with_resampled_patients(two_scores):
    labels, *scores = two_scores
    random = np.random.default_rng(5)
    differences = []
    for _ in range(500):
        rows = np.concatenate([random.choice(np.flatnonzero(labels == i), (labels == i).sum()) for i in (0, 1)])
        differences.append(np.subtract(*(metrics.roc_auc_score(labels[rows], score[rows]) for score in scores)))
    difference = np.subtract(*(metrics.roc_auc_score(labels, score) for score in scores))
    z = stats.norm.isf(association.delong_paired(labels, *scores) / 2)
    assert np.isclose(z, abs(difference) / np.std(differences), rtol=0.1)


def test_paired_delong_of_boundary_cases(two_scores):
    labels, score, _ = two_scores
    assert association.delong_paired(labels, score, score ** 3) == 1
    assert association.delong_paired(labels, labels.astype(float), -labels.astype(float)) == 0
    assert np.isnan(association.delong_paired(np.ones(4), np.arange(4.0), np.arange(4.0)))


def test_weighted_average_precision_is_that_of_scikit_learn_with_ties():
    random = np.random.default_rng(6)
    labels, scores = random.integers(0, 2, 50), random.integers(0, 10, 50) / 10
    weights = random.multinomial(50, np.full(50, 1 / 50), 20)
    expected = [metrics.average_precision_score(labels, scores, sample_weight=draw) for draw in weights]
    assert np.allclose(association.average_precision(labels, scores, weights), expected)
    assert np.isnan(association.average_precision(np.zeros(3), np.arange(3.0), np.ones((1, 3)))).all()


def test_diagnostic_odds_ratio_is_that_of_statsmodels_with_half_a_sample_more():
    labels, called = np.repeat([1, 1, 0, 0], (12, 5, 4, 20)), np.repeat([True, False, True, False], (12, 5, 4, 20))
    table = Table2x2(np.array([[12, 5], [4, 20]]) + 0.5)
    assert np.allclose(association.diagnostic_odds_ratio(labels, called), [table.oddsratio, *table.oddsratio_confint()])
    assert np.isfinite(association.diagnostic_odds_ratio(labels, labels == 1)).all()
