"""The model against a plain loop over slides and tiles, noise against its derivation, training against the optimum."""
import copy
import dataclasses
import os
import tracemalloc

import h5py
import numpy as np
import pytest
import torch

import simulated_cohort
from evaluation import association, baselines
from slide_ex.project import features_file, targets_file
from training import mlp, model_config, patient_splits, pooling, wide_layer

torch.set_num_threads(1)
CPU = torch.device("cpu")
REGRESSION = model_config.Config("regression", "tiles", max_epochs=300, patience=30, hidden=32, learning_rate=1e-3)
CLASSIFIER = dataclasses.replace(REGRESSION, head="classification")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    project = simulated_cohort.write(tmp_path_factory.mktemp("mlp"), n_patients=80)
    slides = features_file.read_slides(project / "features.h5")
    target = targets_file.read_expression(project / "targets.h5", "CAFs")
    splits = patient_splits.draw(sorted(set(slides.patient_ids)), 5, 5, 42)
    return slides, target, splits


def rows_of(cohort, outer=0, inner=0):
    slides, target, splits = cohort
    parts = {**splits["outer"][outer]["inner"][inner], "test": splits["outer"][outer]["test"]}
    return (torch.from_numpy(slides.rows_of(parts[name])) for name in ("train", "valid", "test"))


def labels_of(cohort):
    return torch.from_numpy(cohort[1].of_slides(cohort[0]))


def network_of(config, slides, n_outputs=15, seed=0):
    return mlp.Network(slides.mean_features.shape[1], n_outputs, config, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("together", [0, 20, pooling.N_TOGETHER])
@pytest.mark.parametrize("config", [REGRESSION, CLASSIFIER])
def test_tiles_give_the_losses_and_gradients_of_a_loop_over_slides(cohort, config, together, monkeypatch):
    monkeypatch.setattr(pooling, "N_TOGETHER", together)
    slides, rows = cohort[0], torch.tensor([5, 0, 17])
    network = network_of(config, slides)
    target = torch.rand(3, 15)
    fast = network.last(pooling.TilePooling(slides, CPU)(network, rows, torch.Generator().manual_seed(7)))
    (fast - target).square().mean().backward()
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    n_tiles = slides.n_tiles[rows].sum()
    masks = (torch.rand(n_tiles, 32, generator=torch.Generator().manual_seed(7)) >= 0.2) / 0.8
    masks, plain = masks.split(slides.n_tiles[rows].tolist()), []
    with h5py.File(slides.path) as file:
        for row, mask in zip(rows, masks):
            tiles = torch.from_numpy(file["features"][slides.first_tile[row]:][:slides.n_tiles[row]])
            hidden = network.first(tiles)
            hidden = (hidden.relu() if config.head == "classification" else hidden) * mask
            plain.append(network.last(hidden).mean(0))  # every tile through the wide layer, as published
    (torch.stack(plain) - target).square().mean().backward()
    assert torch.allclose(fast, torch.stack(plain), atol=1e-5)
    for fast_gradient, parameter in zip(gradients, network.parameters()):
        assert torch.allclose(fast_gradient, parameter.grad, atol=1e-5)


def test_streamed_tiles_are_those_in_memory(cohort):
    slides, rows = cohort[0], torch.tensor([3, 1])
    resident, streamed = pooling.TilePooling(slides, CPU), pooling.TilePooling(slides, CPU, streamed=True)
    assert resident.tiles is not None and streamed.tiles is None
    for kept, read in zip(resident.bags(rows), streamed.bags(rows), strict=True):
        assert torch.equal(kept, read)


def test_tiles_that_do_not_fit_are_streamed_one_slide_at_a_time(tmp_path, monkeypatch):
    simulated_cohort.write(tmp_path, n_tiles=(400, 401), n_features=64)
    slides = features_file.read_slides(tmp_path / "features.h5")
    bytes_of_slide = 400 * 64 * 4
    monkeypatch.setattr(pooling, "free_bytes", lambda device: 40 * bytes_of_slide)  # there are 44 slides
    rows, network = torch.arange(32), network_of(REGRESSION, slides)
    with torch.no_grad():
        expected = pooling.TilePooling(slides, CPU, streamed=True)(network, rows, torch.Generator().manual_seed(3))
        tracemalloc.start()
        pool = pooling.TilePooling(slides, CPU)
        hidden = pool(network, rows, torch.Generator().manual_seed(3))
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert pool.tiles is None and torch.equal(hidden, expected)
    assert bytes_of_slide < peak_bytes < 2.5 * bytes_of_slide


def test_the_memory_of_a_job_counts(monkeypatch):
    free = pooling.free_bytes(CPU)
    assert 2**20 < free < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "16")
    assert pooling.free_bytes(CPU) == 16 * 2**20


def test_evaluation_on_means_is_evaluation_on_tiles(cohort):
    slides, rows = cohort[0], torch.arange(6)
    network = network_of(REGRESSION, slides)
    expected = torch.stack([network.first(tiles).mean(0) for tiles in pooling.TilePooling(slides, CPU).bags(rows)])
    for pool in pooling.POOLINGS.values():
        assert torch.allclose(pool(slides, CPU)(network, rows), expected, atol=1e-5)


def test_noise_of_means_has_the_moments_of_dropout(cohort):
    """Mean, variance p / (1 - p) / n^2 sum_t h_tj^2 and no correlation, for the noise and for dropout itself."""
    slides, row, n = cohort[0], torch.tensor([2]), 20_000
    network = network_of(dataclasses.replace(REGRESSION, hidden=4), slides)
    with torch.no_grad():
        hidden = network.first(next(pooling.TilePooling(slides, CPU).bags(row)))
        variance = 0.25 * hidden.square().sum(0) / len(hidden) ** 2
        for pool in (pooling.TilePooling(slides, CPU), pooling.MeanPooling(slides, CPU)):
            drawn = pool(network, row.repeat(n), torch.Generator().manual_seed(1))
            error = (drawn.mean(0) - hidden.mean(0)).abs() / (variance / n).sqrt()
            assert error.max() < 4
            assert torch.allclose(drawn.var(0) / variance, torch.ones(4), atol=0.05)
            correlations = torch.corrcoef(drawn.T) - torch.eye(4)
            assert correlations.abs().max() < 0.04


def test_negligible_noise_is_none_and_reads_no_tile(cohort):
    slides = dataclasses.replace(cohort[0], n_tiles=np.full(len(cohort[0].n_tiles), 2400))
    network, rows = network_of(REGRESSION, slides), torch.arange(4)
    pool = pooling.MeanPooling(slides, CPU)
    assert torch.equal(pool(network, rows, torch.Generator()), pool(network, rows)) and pool.tiles is None


@pytest.mark.parametrize("pool", pooling.POOLINGS.values())
def test_best_epoch_is_restored_and_stopping_counts_epochs(cohort, pool):
    train, valid, _ = rows_of(cohort)
    labels, pool = labels_of(cohort), pool(cohort[0], CPU)
    for keep in ("best", "last"):
        config = dataclasses.replace(REGRESSION, keep=keep)
        network, history = mlp.fit(pool, labels, train, valid, config)
        scores = [epoch["valid_r"] for epoch in history]
        kept = association.pearson(mlp.predict(network, pool, valid), labels[valid].numpy()).mean()
        assert np.isclose(kept, max(scores) if keep == "best" else scores[-1], atol=1e-6)
        assert len(history) == np.argmax(scores) + 1 + config.patience


@pytest.mark.parametrize("head", mlp.LOSSES)
@pytest.mark.parametrize("n_outputs", [1, 70])      # blocks of 32, 32 and 6
def test_blocks_of_outputs_learn_as_autograd_and_adam_do(head, n_outputs, monkeypatch):
    monkeypatch.setattr(wide_layer, "BLOCK", 32)
    random = torch.Generator().manual_seed(0)
    hidden, labels = torch.randn(20, 8, generator=random), torch.rand(20, n_outputs, generator=random).round()
    loss_of = {"regression": torch.nn.functional.mse_loss,
               "classification": torch.nn.functional.binary_cross_entropy_with_logits}[head]
    plain, linear = torch.nn.Linear(8, n_outputs), torch.nn.Linear(8, n_outputs)
    linear.load_state_dict(plain.state_dict())
    optimiser, layer = torch.optim.Adam(plain.parameters(), 1e-2), wide_layer.WideLayer(linear, mlp.LOSSES[head], 1e-2)
    for _ in range(25):
        leaf = hidden.clone().requires_grad_()
        expected = loss_of(plain(leaf), labels)
        optimiser.zero_grad()
        expected.backward()
        optimiser.step()
        loss, gradient = layer.step(hidden, labels)
        assert torch.allclose(loss, expected, atol=1e-6) and torch.allclose(gradient, leaf.grad, atol=1e-6)
    assert torch.allclose(linear.weight, plain.weight, atol=1e-5) and torch.allclose(linear.bias, plain.bias, atol=1e-5)
    _, score_of = mlp.SCORES[head]
    with torch.no_grad():
        outputs = plain(hidden)
        loss, scores = layer.loss_and_scores(hidden, labels, score_of)
        assert np.isclose(loss, loss_of(outputs, labels).item(), atol=1e-6)
        assert torch.allclose(scores, score_of(outputs, labels), atol=1e-5)


def test_both_layers_learn_as_with_the_adam_of_torch():
    random = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(20, 5, generator=random), torch.randn(20, 70, generator=random)
    plain = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Linear(8, 70))
    network = copy.deepcopy(plain)
    optimiser, first = torch.optim.Adam(plain.parameters(), 1e-2), wide_layer.Adam(network[0].parameters(), 1e-2)
    last = wide_layer.WideLayer(network[1], mlp.LOSSES["regression"], 1e-2)
    for _ in range(25):
        expected = torch.nn.functional.mse_loss(plain(inputs), labels)
        optimiser.zero_grad()
        expected.backward()
        optimiser.step()
        assert np.isclose(mlp.one_step(first, last, network[0](inputs), labels), expected.item(), atol=1e-6)
    for ours, of_torch in zip(network.parameters(), plain.parameters()):
        assert torch.allclose(ours, of_torch, atol=1e-5)


def test_same_seed_same_model_whatever_was_drawn_before(cohort):
    train, valid, _ = rows_of(cohort)
    config, pool = dataclasses.replace(REGRESSION, max_epochs=5), pooling.TilePooling(cohort[0], CPU)
    first, _ = mlp.fit(pool, labels_of(cohort), train, valid, config)
    torch.rand(3)
    again, _ = mlp.fit(pool, labels_of(cohort), train, valid, config)
    other, _ = mlp.fit(pool, labels_of(cohort), train, valid, dataclasses.replace(config, seed=1))
    assert torch.equal(first.first.weight, again.first.weight)
    assert not torch.equal(first.first.weight, other.first.weight)


def test_a_gene_that_is_constant_in_validation_does_not_blind_early_stopping(cohort):
    train, valid, _ = rows_of(cohort)
    pool, labels = pooling.MeanPooling(cohort[0], CPU), labels_of(cohort).clone()
    labels[valid, 0] = 1.5
    _, history = mlp.fit(pool, labels, train, valid, REGRESSION)
    assert all(np.isfinite(epoch["valid_r"]) for epoch in history) and len(history) > REGRESSION.patience + 1
    labels[valid] = 1.5
    with pytest.raises(ValueError, match="no output has a correlation"):
        mlp.fit(pool, labels, train, valid, REGRESSION)


def test_a_regression_begins_at_the_mean_of_its_training_labels(cohort):
    train, valid, _ = rows_of(cohort)
    config = dataclasses.replace(REGRESSION, max_epochs=1, learning_rate=1e-9)
    network, _ = mlp.fit(pooling.MeanPooling(cohort[0], CPU), labels_of(cohort), train, valid, config)
    assert torch.allclose(network.last.bias, labels_of(cohort)[train].mean(0), atol=1e-6)


def test_a_perfect_classifier_stops(cohort):
    train, valid, _ = rows_of(cohort)
    labels = (torch.from_numpy(cohort[0].mean_features[:, :1]) > 1).float()
    config = dataclasses.replace(CLASSIFIER, learning_rate=1e-2)
    network, history = mlp.fit(pooling.TilePooling(cohort[0], CPU), labels, train, train, config)
    assert history[-1]["valid_accuracy"] == 1 and len(history) < config.max_epochs
    assert 0 <= mlp.predict(network, pooling.TilePooling(cohort[0], CPU), valid).min() <= 1


def test_planted_linear_signal_is_found_as_well_as_by_the_best_ridge(tmp_path):
    """Signal linear in the slide means: R on test slides within 0.02 of the closed-form optimum, in both poolings."""
    project = simulated_cohort.write(tmp_path, n_patients=400, n_second_slides=0, noise=0.7)
    slides = features_file.read_slides(project / "features.h5")
    cohort = slides, targets_file.read_expression(project / "targets.h5", "CAFs"), patient_splits.draw(
        sorted(slides.patient_ids), 5, 5, 42)
    train, valid, test = rows_of(cohort)
    labels = labels_of(cohort)
    ridges = baselines.ridges(slides.mean_features, train.numpy(), valid.numpy())
    optimum = association.pearson(baselines.ridge(ridges, labels.numpy(), test.numpy()), labels[test].numpy())
    r = {}
    for name, pool in pooling.POOLINGS.items():
        pool = pool(slides, CPU)
        network, _ = mlp.fit(pool, labels, train, valid, REGRESSION)
        r[name] = association.pearson(mlp.predict(network, pool, test), labels[test].numpy())
        assert abs(r[name].mean() - optimum.mean()) < 0.02
    assert optimum.mean() > 0.7
    assert np.median(np.abs(r["tiles"] - r["mean"])) < 0.01 and abs((r["tiles"] - r["mean"]).mean()) < 0.005


@pytest.mark.parametrize("config", [REGRESSION, CLASSIFIER])
def test_standardised_features_are_learnt_from_and_folded_into_the_first_layer(cohort, config):
    """The same as on tiles that were standardised before, by the training slides alone, in any unit."""
    slides, (train, valid, test) = cohort[0], rows_of(cohort)
    config = dataclasses.replace(config, max_epochs=8)
    labels = (labels_of(cohort) > 5).float() if config.head == "classification" else labels_of(cohort)
    found = []
    for unit, standardise in ((1, True), (100, True), (1, False)):
        pool = pooling.TilePooling(slides, CPU)
        pool.means, pool.tiles = pool.means * unit + unit, pool.tiles * unit + unit
        if not standardise:
            centre, sd = pool.means[train].mean(0), pool.means[train].std(0, correction=0)
            pool.means, pool.tiles = (pool.means - centre) / sd, (pool.tiles - centre) / sd
        network, _ = mlp.fit(pool, labels, train, valid, dataclasses.replace(config, standardise=standardise))
        assert list(network.state_dict()) == ["first.weight", "first.bias", "last.weight", "last.bias"]
        found.append(mlp.predict(network, pool, test))
    assert np.allclose(found[0], found[1], atol=1e-3) and np.allclose(found[0], found[2], atol=1e-3)
    assert np.ptp(found[0], axis=0).min() > 0.01


def test_a_constant_feature_is_no_obstacle_to_standardising():
    layer = mlp.Standardised(torch.nn.Linear(2, 3), torch.tensor([[0.1, 1.0], [0.1, 2.0]]))
    assert (layer.weight[:, 0] == 0).all() and torch.isfinite(layer.bias).all()
    features = torch.randn(4, 2)
    before = layer(features)
    assert torch.allclose(layer.plain()(features), before, atol=1e-6)


def test_of_epochs_that_score_alike_the_first_is_kept(cohort):
    """Labels are noise, so that accuracies on the few validation slides tie; the network is that of the first best."""
    train, valid, test = rows_of(cohort)
    labels = torch.from_numpy(np.random.default_rng(3).integers(0, 2, (len(cohort[0].slide_ids), 1))).float()
    config, pool = dataclasses.replace(CLASSIFIER, max_epochs=15), pooling.TilePooling(cohort[0], CPU)
    network, history = mlp.fit(pool, labels, train, valid, config)
    scores = [epoch["valid_accuracy"] for epoch in history]
    first = scores.index(max(scores)) + 1
    assert scores.count(max(scores)) > 1 and len(history) == 15
    stopped, _ = mlp.fit(pool, labels, train, valid, dataclasses.replace(config, max_epochs=first, keep="last"))
    assert np.array_equal(mlp.predict(network, pool, test), mlp.predict(stopped, pool, test))
