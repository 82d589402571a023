"""Laws of the native deconvolution."""
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import nnls
from scipy.stats import kendalltau, rankdata

import mixed_cells
from model import (
    cell_fractions,
    confidence,
    expression_model,
    factor_model,
    native,
    nonnegative,
    patients,
    rank_choice,
    rank_correlation,
    reference_fit,
    unknown_type,
)
from outputs import native_notes


def deconvolve(data, **changes):
    data = data | changes
    markers = data["bulk"].index.get_indexer(data["signature"].index)
    return native.deconvolve(data["bulk"].to_numpy(), markers, data["signature"].to_numpy(),
                             data["reference"].to_numpy(), 0)


@pytest.fixture(scope="module")
def data():
    return mixed_cells.mix()


@pytest.fixture(scope="module")
def done(data):
    return deconvolve(data)


def test_coordinate_descent_equals_scipy_nnls():
    random = np.random.default_rng(0)
    a, b = random.random((30, 12, 4)), random.standard_normal((30, 12))
    x = nonnegative.coordinate_descent(np.einsum("pgk,pgl->pkl", a, a), np.einsum("pgk,pg->pk", a, b), np.zeros(4), 500)
    np.testing.assert_allclose(x, [nnls(*problem)[0] for problem in zip(a, b)], atol=1e-6)


def test_fractions_are_exact_without_noise():
    random = np.random.default_rng(1)
    signature, fractions = random.lognormal(3, 1, (60, 5)), random.dirichlet(np.ones(5), 20)
    np.testing.assert_allclose(cell_fractions.estimate(signature @ fractions.T, signature), fractions, atol=2e-3)


def test_fractions_bear_corrupted_genes():
    random = np.random.default_rng(1)
    signature, fractions = random.lognormal(3, 1.5, (200, 5)), random.dirichlet(np.ones(5), 40)
    bulk = signature @ fractions.T
    bulk[:20] *= random.uniform(0, 50, (20, 40))
    assert np.abs(cell_fractions.estimate(bulk, signature) - fractions).mean() < .02


def test_fractions_sum_to_one_and_resemble_the_truth(data, done):
    np.testing.assert_allclose(done.fractions.sum(axis=1), 1, atol=1e-5)
    assert np.sqrt(np.mean((done.fractions - data["fractions"]) ** 2)) < .04


def test_scale_of_bulk_only_scales_the_expression(data, done):
    scaled = deconvolve(data, bulk=data["bulk"] * 8)
    np.testing.assert_allclose(scaled.fractions, done.fractions, atol=1e-5)
    np.testing.assert_allclose(scaled.expression, done.expression * 8, rtol=1e-3, atol=1e-2)


def test_order_of_samples_and_types_does_not_matter(data):
    """With known random draws out of the way: the model itself."""
    bulk = data["bulk"].to_numpy()
    scaled = (bulk / bulk.mean(axis=1, keepdims=True)).astype(np.float32)
    means = (data["reference"].to_numpy() / bulk.mean(axis=1, keepdims=True)).astype(np.float32)
    fractions = data["fractions"].astype(np.float32)
    samples, types = np.random.default_rng(0).permutation(60), np.array([2, 0, 3, 1])

    def parts(scaled, means, fractions):
        factors = factor_model.fit(scaled - means @ fractions.T, means, fractions, 6)
        return np.stack([factors.part(k) for k in range(4)])

    one = parts(scaled, means, fractions)
    other = parts(scaled[:, samples], means[:, types], fractions[samples][:, types])
    np.testing.assert_allclose(other, one[types][:, :, samples], atol=2e-2)


def test_factors_find_what_varies_within_a_type(data, done):
    tau = np.array([rank_correlation.kendall(*pair) for pair in zip(data["expression"], done.expression)])
    mirror = np.array([rank_correlation.kendall(of_type, data["bulk"].to_numpy()) for of_type in data["expression"]])
    varies = data["expression"].std(axis=2) > .1 * data["expression"].mean(axis=2)
    assert np.median(tau[0][varies[0]]) > .5
    for k in range(4):
        assert np.median(tau[k][varies[k]]) > np.median(mirror[k][varies[k]])


def test_no_factors_where_nothing_varies():
    data = mixed_cells.mix(spread=0, noise=.05)
    bulk = data["bulk"].to_numpy()
    scaled = (bulk / bulk.mean(axis=1, keepdims=True)).astype(np.float32)
    means = (data["reference"].to_numpy() / bulk.mean(axis=1, keepdims=True)).astype(np.float32)
    fractions = data["fractions"].astype(np.float32)
    rank, errors = rank_choice.choose(scaled - means @ fractions.T, means, fractions, np.random.default_rng(0))
    assert min(errors.values()) > .95
    factors = factor_model.fit(scaled - means @ fractions.T, means, fractions, 8)
    assert max(np.abs(factors.part(k)).mean() / means[:, k].mean() for k in range(4)) < .05


def test_few_samples_have_no_factors():
    data = mixed_cells.mix(n_patients=11)
    done = deconvolve(data)
    assert done.rank == 0
    assert done.confidence.max() <= confidence.DOUBTFUL


@pytest.mark.parametrize("n_samples, n_cell_types, notes", [
    (60, 9, []), (52, 18, ["52 samples are fewer than 3 a cell type: no factors are fitted"]),
    (40, 9, ["40 samples are fewer than 50: no confidence is above 0.49"])])
def test_each_limit_of_size_has_its_own_note(n_samples, n_cell_types, notes):
    assert native_notes.about_size(n_samples, n_cell_types) == notes


def test_shares_of_the_residual_never_exceed_it():
    random = np.random.default_rng(0)
    means, fractions = random.random((20, 3)), random.dirichlet(np.ones(3), 8)
    shares = list(expression_model.gains(means, fractions, np.full(20, 2.)))
    total = sum(f * share for f, share in zip(fractions.T, shares))
    assert (total > 0).all() and (total <= 1 + 1e-9).all()


def test_kendall_from_ranks_is_near_the_exact_one():
    random = np.random.default_rng(0)
    a = random.standard_normal((20, 300))
    b = a + random.lognormal(0, 1, (20, 1)) * random.standard_normal((20, 300))
    expected = [kendalltau(*pair).statistic for pair in zip(a, b)]
    np.testing.assert_allclose(rank_correlation.kendall(a, b), expected, atol=.03)


@pytest.mark.parametrize("rows", [np.random.default_rng(0).standard_normal((450, 31)).astype(np.float32),
                                  np.random.default_rng(1).integers(-2, 3, (450, 31)) * np.float32(.5),
                                  np.array([[-0., 0, 1, -np.float32(1e-30), 3e38]], dtype=np.float32)],
                         ids=["no ties", "ties", "zeros"])
def test_ranks_are_those_of_scipy(rows):
    np.testing.assert_array_equal(rank_correlation.mean_ranks(rows), rankdata(rows, axis=1) - 1)


def test_rho_of_a_constant_row_is_unknown():
    a, b = np.array([[1., 1, 1], [1, 2, 3]]), np.array([[1., 2, 3], [3, 2, 1]])
    np.testing.assert_array_equal(rank_correlation.spearman(a, b), [np.nan, -1])


def test_confidence_never_falls_with_the_score():
    random = np.random.default_rng(0)
    score, truth = random.random(1000), random.random(1000)
    result = confidence.calibrated(score, truth + .1 * random.standard_normal(1000), truth)
    assert (np.diff(result[np.argsort(score)]) >= 0).all() and result.min() >= 0 and result.max() <= 1


def test_confidence_is_the_share_of_accurate_genes_of_that_score():
    """Half of the genes of the rival world with score 0.6 are accurate, with 0.8 all, with 0.1 none."""
    rival_score = np.repeat([.1, .6, .8], 2000)
    truth = np.where(rival_score == .6, np.arange(6000) % 2, rival_score == .8)
    np.testing.assert_allclose(confidence.calibrated(np.array([.05, .6, .9]), rival_score, truth), [0, .5, 1], atol=.03)
    just_below = np.full(6000, confidence.TAU_ACCURATE + confidence.MARGIN - .01)
    assert confidence.calibrated(np.array([.9]), rival_score, just_below) == 0


def small_model():
    random = np.random.default_rng(0)
    loadings, scores = random.standard_normal((3, 200, 4)), random.standard_normal((3, 500, 4))
    return expression_model.Model(random.dirichlet([6, 2, 1], 500), random.random((200, 3)) + .1,
                                  factor_model.Factors(loadings * [[[1]], [[.1]], [[0]]], scores), np.full(200, .3))


def test_the_rival_world_varies_alike_in_all_types_and_shares_states():
    """As much in all as the fitted model, relative to the mean; a type without factors keeps none."""
    model = small_model()
    other = confidence.rival(model, np.zeros(200), np.random.default_rng(1))
    fitted, own = (np.sum(m.factors.loadings ** 2, axis=2).T for m in (model, other))
    weight = np.mean(model.fractions ** 2, axis=0)
    expected = fitted @ weight / (model.means ** 2 @ weight)
    np.testing.assert_allclose(own[:, :2] / model.means[:, :2] ** 2, np.stack([expected, expected], axis=1), rtol=1e-5)
    assert (own[:, 2] == 0).all()
    scores = other.factors.scores
    np.testing.assert_allclose(np.mean(scores[0] * scores[1]), confidence.SHARED_STATES, atol=.1)
    np.testing.assert_allclose(np.mean(scores ** 2), 1, atol=.05)


def test_noise_of_bulk_is_told_from_expression_by_the_steadiest_genes():
    """Genes of low level are measured worse; half of all genes vary in a cell type, too."""
    random = np.random.default_rng(0)
    means, fractions = random.lognormal(0, 1, (2000, 3)), random.dirichlet([6, 2, 1], 200)
    no_factors = factor_model.Factors(np.zeros((3, 2000, 0)), np.zeros((3, 200, 0)))
    model = expression_model.Model(fractions, means, no_factors, None)
    level = np.sort(random.lognormal(3, 2, 2000))
    noise_sd = np.where(np.arange(2000) < 1000, .3, .1)
    varies = random.lognormal(0, np.where(np.arange(2000) % 2, .5, 0)[:, None], (2000, 200))
    bulk = means @ fractions.T + (varies - 1) * means[:, [0]] * fractions[:, 0]
    found = expression_model.measurement_noise(model, bulk * random.lognormal(0, noise_sd[:, None], bulk.shape), level)
    away = np.abs(np.arange(2000) - 1000) > 200  # from where one noise gives way to the other
    np.testing.assert_allclose(np.sqrt(found)[away], noise_sd[away], rtol=.15)


def test_the_rival_world_takes_noise_from_expression_and_bulk_varies_as_before():
    """At most what is left of expression; what that makes of bulk is counted in a plain loop."""
    model = small_model()
    noise = np.where(np.arange(200) < 100, .01, 10)
    other = confidence.rival(model, noise, np.random.default_rng(1))
    for gene in (0, 50, 150):
        in_bulk = [sum((f * m) ** 2 for f, m in zip(row, model.means[gene])) / np.dot(row, model.means[gene]) ** 2
                   for row in model.fractions]
        np.testing.assert_allclose(other.kappa[gene] * np.mean(in_bulk) + other.noise[gene], .3 * np.mean(in_bulk))
    np.testing.assert_allclose(other.noise[:100], .01)
    np.testing.assert_allclose(other.kappa[100:], 0, atol=1e-12)
    assert (other.kappa[:100] > .2).all() and model.noise == 0


@pytest.mark.parametrize("noise, spread, seed", [(.25, .15, 1), (.3, .1, 0)])
def test_noise_of_bulk_is_not_taken_for_expression(noise, spread, seed):
    """Noisy bulk of patients that hardly differ: nothing is right in it that would be worth keeping."""
    data = mixed_cells.mix(noise=noise, spread=spread, seed=seed)
    done = deconvolve(data)
    wrong = (done.confidence >= .95) & ~(accuracy(data, done) >= .3)
    assert wrong.sum() <= 2 and np.mean(accuracy(data, done) >= .3) < .2


def test_permuted_scores_are_the_same_scores_unrelated_between_types():
    model = small_model()
    model.factors.scores[1] = model.factors.scores[0]
    scores = confidence.permuted(model, np.random.default_rng(1)).factors.scores
    np.testing.assert_allclose(np.sort(scores[0], axis=0), np.sort(model.factors.scores[0], axis=0))
    assert abs(np.mean(scores[0] * scores[1])) < .1


def test_scale_of_a_patient_does_not_change_the_expression(data, done):
    scale = np.random.default_rng(1).lognormal(0, .6, data["bulk"].shape[1])
    other = deconvolve(data, bulk=data["bulk"] * scale)
    np.testing.assert_allclose(np.corrcoef(np.log(other.level), np.log(scale))[0, 1], 1, atol=.01)
    tau = np.array([rank_correlation.kendall(*pair) for pair in zip(done.expression, other.expression)])
    assert np.nanmedian(tau, axis=1).min() > .8


def test_scale_is_exact_without_noise_and_one_where_patients_do_not_differ():
    random = np.random.default_rng(0)
    reference, fractions = random.lognormal(3, 1, (300, 4)), random.dirichlet(np.ones(4), 50)
    bulk, scale = reference @ fractions.T, random.lognormal(0, 1, 50)
    estimate = patients.level(bulk * random.lognormal(0, 1, (300, 1)) * scale, fractions, reference)
    np.testing.assert_allclose(np.log(estimate), np.log(scale) - np.log(scale).mean(), rtol=.02, atol=.01)
    noisy = bulk * random.lognormal(0, .2, bulk.shape)
    np.testing.assert_array_equal(patients.level(noisy, fractions, reference), np.ones(50))
    np.testing.assert_array_equal(patients.level(bulk, fractions, np.full((300, 4), np.nan)), np.ones(50))


def test_what_a_type_hardly_makes_of_a_gene_is_doubtful(data, done):
    means = data["reference"].to_numpy() * data["fractions"].mean(axis=0)
    hardly = means < .003 * means.sum(axis=1, keepdims=True)
    assert hardly.sum() > 5 and done.confidence[hardly].max() <= confidence.DOUBTFUL


def test_confident_genes_are_accurate(data, done):
    tau = np.array([rank_correlation.kendall(*pair) for pair in zip(data["expression"], done.expression)]).T
    kept = done.confidence >= .95
    assert kept.sum() > 20 and np.mean(tau[kept] >= .3) > .85


def test_confidence_collapses_when_genes_are_permuted(data):
    bulk = data["bulk"].iloc[np.random.default_rng(0).permutation(len(data["bulk"]))].set_axis(data["bulk"].index)
    assert np.mean(deconvolve(data, bulk=bulk).confidence >= .95) < .02


def test_same_seed_same_numbers(data, done):
    again = deconvolve(data)
    np.testing.assert_array_equal(again.expression, done.expression)
    np.testing.assert_array_equal(again.confidence, done.confidence)


def test_a_missing_cell_type_is_noticed(data, done):
    assert not len(done.unexplained[0])
    known = mixed_cells.TYPES[1:]
    without = data | {"signature": data["signature"][known], "reference": data["reference"][known]}
    rows, line = deconvolve(without).unexplained
    assert len(rows) and "missing" in line


def test_a_rare_missing_type_is_noticed_by_genes_that_rise_together():
    """A tenth of the patients have a type that nobody knows; the median patient shows nothing of it."""
    random = np.random.default_rng(0)
    log_ratio = .2 * random.standard_normal((500, 60))
    assert reference_fit.above_together(log_ratio) == ([], "")
    high = np.where(np.arange(60) < 10, 3, 0)
    rows, line = reference_fit.above_together(np.r_[log_ratio[:20] + high, log_ratio[20:]])
    assert set(rows) == set(range(20)) and "missing" in line
    alone = np.array([random.permutation(high) for _ in range(20)])
    assert reference_fit.above_together(np.r_[log_ratio[:20] + alone, log_ratio[20:]]) == ([], "")


def accuracy(data, done):
    """Kendall's tau (n_genes, n_cell_types) with the truth."""
    return np.array([rank_correlation.kendall(*pair) for pair in zip(data["expression"], done.expression)]).T


def test_a_batch_is_found_and_removed(data, done):
    """A third of the patients with a factor of their own for every gene: nearly as accurate as without it."""
    bulk = data["bulk"].copy()
    bulk.iloc[:, :20] *= np.random.default_rng(0).lognormal(0, .6, (len(bulk), 1))
    other = deconvolve(data, bulk=bulk)
    assert other.batch.tolist() == [1] * 20 + [0] * 40 and not done.batch.any()
    before, after = (np.nanmedian(accuracy(data, one)[:, 0]) for one in (done, other))
    assert after > .9 * before
    kept = other.confidence >= .95
    assert kept.sum() > 20 and np.mean(accuracy(data, other)[kept] >= .3) > .85


def test_batches_that_are_given_need_not_be_clear():
    """Three of them; what is removed is what was put in, up to chance."""
    random = np.random.default_rng(0)
    reference, fractions = random.lognormal(3, 1, (300, 4)), random.dirichlet(np.ones(4), 60)
    batch, effect = np.arange(60) % 3, random.normal(0, .2, (300, 3))
    bulk = reference @ fractions.T * np.exp(effect[:, batch] + .1 * random.standard_normal((300, 60)))
    found = patients.batch_effects(bulk, reference, fractions, batch)
    wanted = effect - effect.mean(axis=1, keepdims=True)
    assert np.std(found - wanted) < .25 * np.std(wanted)
    left = np.log(patients.without_batches(bulk, found, batch) / (reference @ fractions.T))
    assert np.std(patients.mean_of_groups(left, batch) - left.mean(axis=1, keepdims=True)) < .25 * np.std(wanted)


def test_a_subtype_of_one_cell_type_is_no_batch():
    random = np.random.default_rng(0)
    reference, fractions = random.lognormal(3, 1, (300, 4)), random.dirichlet(np.full(4, 5), 60)
    reference[np.arange(300), np.arange(300) % 4] *= 10
    noise = np.exp(.1 * random.standard_normal((300, 60)))
    shift = np.where(np.arange(60) < 30, random.normal(0, .5, (300, 1)), 0)
    own = (np.arange(300) % 4 == 0)[:, None]
    for change, is_batch in ((shift, True), (np.where(own, shift, 0), False)):
        bulk = reference @ fractions.T * noise * np.exp(change)
        found = patients.find_batches(bulk, reference, fractions, random)
        assert found.any() == is_batch


def test_a_sample_given_twice_is_counted_once(data, done):
    """In any scale, with a little noise: the same numbers as once, for both."""
    noise = np.random.default_rng(0).lognormal(0, .01, data["bulk"].shape)
    twice = pd.concat([data["bulk"], (data["bulk"] * noise * 3).iloc[:, ::-1]], axis=1)
    assert patients.same_sample(twice.to_numpy()).tolist() == [*range(60), *range(59, -1, -1)]
    assert patients.same_sample(data["bulk"].to_numpy()).tolist() == list(range(60))
    other = deconvolve(data, bulk=pd.concat([data["bulk"], data["bulk"].iloc[:, :10]], axis=1))
    np.testing.assert_array_equal(other.confidence, done.confidence)
    np.testing.assert_array_equal(other.expression[:, :, 60:], done.expression[:, :, :10])
    with pytest.raises(ValueError, match="only 2 different samples"):
        deconvolve(data, bulk=data["bulk"].iloc[:, [0, 1, 0, 1, 1]])


def five_types(seed):
    """Bulk (300, 80), signature (300, 5) and fractions (80, 5)."""
    random = np.random.default_rng(seed)
    signature = random.lognormal(3, .7, (300, 5))
    signature[np.arange(300), np.arange(300) % 5] *= 8
    fractions = random.dirichlet([6, 2, 2, 2, 2], 80)
    return signature @ fractions.T * random.lognormal(0, .1, (300, 80)), signature, fractions


@pytest.mark.parametrize("seed", range(3))
def test_fractions_that_stand_in_for_an_unknown_type_are_doubtful(seed):
    """The last type is not in the signature, and the one before it is half-way to it; no other is doubted."""
    bulk, signature, fractions = five_types(seed)
    whole = unknown_type.check(bulk, signature, cell_fractions.estimate(bulk, signature))
    assert not whole.doubtful().any() and (whole.agreement > .98).all()
    known = np.c_[signature[:, :3], np.sqrt(signature[:, 3] * signature[:, 4])]
    bulk = np.c_[known, signature[:, 4]] @ fractions.T * np.random.default_rng(seed).lognormal(0, .1, bulk.shape)
    check = unknown_type.check(bulk, known, cell_fractions.estimate(bulk, known))
    assert check.doubtful().tolist() == [False, False, False, True]
    assert np.corrcoef(check.unknown, fractions[:, 4])[0, 1] > .95


def test_states_of_the_most_abundant_type_are_no_unknown_type():
    random = np.random.default_rng(0)
    bulk, signature, fractions = five_types(0)
    state = np.exp(np.outer(random.normal(0, .4, 300), random.standard_normal(80))) - 1
    bulk = bulk + signature[:, [0]] * state * fractions[:, 0]
    check = unknown_type.check(bulk, signature, cell_fractions.estimate(bulk, signature))
    assert check.state_of == 0 and check.agreement[0] == 1 and not check.doubtful().any()


def test_a_type_whose_markers_bulk_does_not_show_is_doubtful():
    """All types are, when it is the one whose place the unknown type takes."""
    bulk, signature, fractions = five_types(0)
    signature[:, 1] *= np.where(np.arange(300) % 5 == 1, 20, 1)
    level = unknown_type.own_level(bulk, signature, fractions)
    assert level[1] < unknown_type.MIN_OWN_LEVEL < level[[0, 2, 3, 4]].min()
    for state_of, expected in ((0, [False, True, False, False, False]), (1, [True] * 5)):
        check = unknown_type.Check(np.ones(5), state_of, level, np.ones(80), fractions)
        assert check.doubtful().tolist() == expected and check.is_of_another_tissue() == (state_of == 1)


@pytest.mark.parametrize("unexplained, is_lowered", [(True, True), (False, False)])
def test_expression_that_follows_an_unknown_type_is_doubtful_where_bulk_has_unexplained_genes(unexplained, is_lowered):
    """What follows a known type stays: cells answer to one another."""
    random = np.random.default_rng(0)
    unknown, known = random.random((2, 100))
    expression = np.stack([random.lognormal(0, .5, 100), random.lognormal(0, .1, 100) * unknown ** 2, known])[None]
    check = unknown_type.Check(np.ones(1), 0, np.ones(1), unknown, np.zeros((100, 1)))
    scores = confidence.lowered(np.full((3, 1), .97), expression, check, unexplained, 0, fractions_known=False)
    assert (scores[:, 0] < .5).tolist() == [False, is_lowered, False]


def test_a_patient_like_no_cell_type_has_equal_fractions():
    signature = np.array([[1., 0], [0, 1], [0, 0]])
    bulk = np.array([[1., 0], [3, 0], [0, 5]])
    np.testing.assert_allclose(cell_fractions.estimate(bulk, signature)[1], [.5, .5])


def test_no_gene_is_trusted_whose_simulations_fail():
    score = np.array([.1, confidence.TAU_ACCURATE])
    assert (confidence.calibrated(score, np.zeros(100), np.ones(100)) <= [.001, .5]).all()
