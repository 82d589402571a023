"""The distance to the training slides: its rate of false alarms, its power, and a plain computation of it."""
import numpy as np
import pytest

from transfer import training_range


def draw(random, n_slides, n_features, shift=0.0):
    """Mean features with a falling spectrum, as features have."""
    return random.normal(size=(n_slides, n_features)) / np.arange(1, n_features + 1) ** 0.7 + shift


@pytest.mark.parametrize("n_slides, n_features", [(86, 500), (86, 20), (300, 100)])
def test_slides_of_the_same_law_are_outside_one_time_in_a_hundred(n_slides, n_features):
    rates, shifted = [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        training = training_range.fit(draw(random, n_slides, n_features), np.arange(n_slides).astype(str))
        for rates_of, shift in ((rates, 0), (shifted, 0.5)):
            quantile = training_range.distances(training, draw(random, 200, n_features, shift))[1]
            rates_of.append((quantile > training_range.OUTSIDE).mean())
    assert 0.004 < np.mean(rates) < 0.02
    assert np.mean(shifted) > 0.95


def test_distance_is_the_plain_computation():
    random = np.random.default_rng(0)
    means, new = draw(random, 40, 6), draw(random, 5, 6)
    training = training_range.fit(means, np.arange(40).astype(str))
    values, vectors = np.linalg.eigh(np.cov(means.T))
    leading = vectors[:, ::-1][:, :4]  # ten slides a component
    for row, distance in zip(new - means.mean(0), training_range.distances(training, new)[0]):
        scores = row @ leading
        left = np.linalg.norm(row - leading @ scores)
        z = max(0, (2 * np.log(left) - training.residual[0]) / training.residual[1])
        assert distance == pytest.approx(np.sqrt((scores ** 2 / values[::-1][:4]).sum() + z ** 2))


def test_slides_of_a_patient_are_held_out_together():
    """Two equal slides of each patient: measured by the same fit, they are equally far."""
    means = draw(np.random.default_rng(0), 43, 500)
    training = training_range.fit(np.repeat(means, 2, axis=0), np.repeat(np.arange(43), 2).astype(str))
    assert np.allclose(training.distances[::2], training.distances[1::2], rtol=1e-9)


def test_quantiles_are_shares_of_training_slides_and_their_middle_is_inside():
    training = training_range.fit(draw(np.random.default_rng(0), 50, 30), np.arange(50).astype(str))
    new = np.r_[training.mean[None], training.mean[None] + 100, draw(np.random.default_rng(1), 10, 30)]
    distance, quantile = training_range.distances(training, new)
    assert (quantile == (training.distances[:, None] < distance).mean(0)).all()
    assert quantile[0] < 0.1 and quantile[1] == 1
