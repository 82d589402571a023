"""Intervals of predictions: known quantiles, and the law that a further label is inside as often as is said."""
import numpy as np
import pytest

from evaluation import intervals


@pytest.mark.parametrize("n_patients, rank", [(9, 9), (10, 10), (18, 18), (19, 18), (99, 90), (100, 91)])
def test_the_half_width_is_a_known_residual(n_patients, rank):
    """The k-th smallest of n, k = ceil(.9 (n + 1)), whatever the signs."""
    residuals = np.random.default_rng(0).permutation(np.arange(1.0, n_patients + 1))[:, None] * [1, -10]
    predictions = np.full((n_patients, 2), 5.0)
    assert intervals.half_widths(predictions + residuals, predictions) == pytest.approx([rank, 10 * rank])


def test_too_few_patients_have_no_interval():
    labels = np.random.default_rng(0).normal(size=(8, 3))
    width = intervals.half_widths(labels, labels + 1)
    assert np.isnan(width).all() and np.isnan(intervals.coverage(labels, labels, width)).all()


@pytest.mark.parametrize("n_patients", [19, 40])
def test_a_further_label_is_inside_as_often_as_is_said(n_patients):
    """Of exchangeable residuals, here heavy-tailed, in ceil(.9 (n + 1)) of n + 1 cases; 20,000 outputs, sd .002."""
    residuals = np.random.default_rng(1).standard_t(2, size=(n_patients + 1, 20_000))
    known, further = residuals[:-1], residuals[-1:]
    inside = intervals.coverage(further, 0 * further, intervals.half_widths(known, 0 * known))
    assert inside.mean() == pytest.approx(np.ceil(0.9 * (n_patients + 1)) / (n_patients + 1), abs=0.01)
    assert inside.mean() > 0.89


def test_coverage_by_hand():
    labels, predictions = np.array([[0.0, 1], [2, 1], [3, 1], [4, 9]]), np.ones((4, 2))
    assert list(intervals.coverage(labels, predictions, np.array([1, 0.5]))) == [0.5, 0.75]
