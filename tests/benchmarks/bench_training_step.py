"""Training of slide means: the wide layer in blocks against all at once; of tiles: some slides together against all.

    python tests/benchmarks/bench_training_step.py --genes 5000 10000 18000 --tiles 6 600

CPU milliseconds of one thread, medians, ratios of one run. All at once are the products and the loss of autograd and
one Adam; a step has 32 slides, a validation 160. Of the direct model (first layer, ReLU, dropout, mean over tiles) 16
slides are taken, their tiles stored as float32 and float16, all in one product, which needs a copy of them, or up to
pooling.N_TOGETHER of them.
"""
import argparse
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "prediction"))

from evaluation import association  # noqa: E402
from slide_ex.project import features_file  # noqa: E402
from training import mlp, model_config, pooling, wide_layer  # noqa: E402

N_FEATURES, N_VALID = 2048, 160


def main(args):
    torch.set_num_threads(1)
    for n_genes in args.genes:
        of_size(n_genes)
    for n_tiles in args.tiles:
        for dtype in (np.float32, np.float16):
            direct(n_tiles, dtype)


def of_size(n_genes):
    config, random = model_config.Config("regression", "mean", 1, 1), torch.Generator().manual_seed(1)
    means, labels = torch.rand(N_VALID, N_FEATURES, generator=random), torch.randn(N_VALID, n_genes, generator=random)
    train, known = means[:config.batch_size], labels[:config.batch_size]
    compare(f"step, {n_genes} genes", 40, {
        "whole": plain_step(config, lambda network, _: network.last(network.first(train)), known),
        "blocks": step_here(config, lambda network, _: network.first(train), known)})
    linear, hidden = torch.nn.Linear(config.hidden, n_genes), torch.rand(N_VALID, config.hidden, generator=random)
    layer = wide_layer.WideLayer(linear, mlp.LOSSES[config.head], config.learning_rate)

    def whole_validation():
        with torch.no_grad():
            outputs = torch.cat([linear(part) for part in hidden.split(config.batch_size)])
            return torch.nn.functional.mse_loss(outputs, labels).item(), association.pearson(outputs, labels)

    compare(f"validation, {n_genes} genes", 12, {
        "whole": whole_validation, "blocks": lambda: layer.loss_and_scores(hidden, labels, association.pearson)})


def direct(n_tiles, dtype):
    config, rows = model_config.Config("classification", "tiles", 1, 1), torch.arange(16)
    with tempfile.TemporaryDirectory() as folder:
        pool = pooling.TilePooling(wide_slides(Path(folder), len(rows), n_tiles, dtype), torch.device("cpu"))
    network = mlp.Network(N_FEATURES, 1, config, torch.Generator().manual_seed(0))

    def all_in_one(generator):
        hidden = network.first(torch.cat(list(pool.bags(rows)))).relu()
        hidden = hidden * pool.kept(len(hidden), config, generator)
        return torch.stack([of_slide.mean(0) for of_slide in hidden.split(n_tiles)]) / (1 - config.dropout)

    def with_gradient(way):
        network.zero_grad()
        hidden = way(torch.Generator().manual_seed(1))
        hidden.sum().backward()
        return hidden.detach(), network.first.weight.grad / len(rows)

    compare(f"direct, {len(rows)} slides of {n_tiles} tiles, {np.dtype(dtype)}", 5, {
        "whole": lambda: with_gradient(all_in_one),
        "blocks": lambda: with_gradient(lambda generator: pool(network, rows, generator))})


def compare(what, n_tries, works):
    """Print the median CPU time of two ways, called in turn, so that what others do on the machine meets both."""
    seconds, found = {way: [] for way in works}, {}
    for _ in range(n_tries):
        for way, work in works.items():
            started = time.process_time()
            found[way] = [np.asarray(number) for number in work()]
            seconds[way].append(time.process_time() - started)
    whole, blocks = (np.median(seconds[way]) * 1e3 for way in works)
    difference = max(np.abs(one - other).max() for one, other in zip(*found.values()))
    print(f"{what}: whole {whole:.1f} ms, blocks {blocks:.1f} ms, {whole / blocks:.2f} x; "
          f"largest difference {difference:.1g}", flush=True)


def plain_step(config, forward, labels):
    """A step of autograd and Adam over the whole network, as a function; forward: outputs of network, generator."""
    network = mlp.Network(N_FEATURES, labels.shape[1], config, torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)

    def one_step():
        loss = torch.nn.functional.mse_loss(forward(network, torch.Generator().manual_seed(2)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return [loss.item()]
    return one_step


def step_here(config, forward, labels):
    """The same as mlp.fit does it; forward: hidden units of network, generator."""
    network = mlp.Network(N_FEATURES, labels.shape[1], config, torch.Generator().manual_seed(0))
    first = wide_layer.Adam(network.first.parameters(), config.learning_rate)
    last = wide_layer.WideLayer(network.last, mlp.LOSSES[config.head], config.learning_rate)
    return lambda: [mlp.one_step(first, last, forward(network, torch.Generator().manual_seed(2)), labels)]


def wide_slides(folder, n_slides, n_tiles, dtype=np.float32):
    """Slides with random features of n_tiles tiles each, written to a features.h5."""
    features = np.random.default_rng(0).uniform(size=(n_slides * n_tiles, N_FEATURES)).astype(dtype)
    with h5py.File(folder / "features.h5", "w") as file:
        file["features"] = features
    means = features.reshape(n_slides, n_tiles, -1).mean(1, dtype=np.float32)
    return slides_of(folder / "features.h5", np.arange(n_slides).astype(str), np.full(n_slides, n_tiles), means)


def slides_of(path, ids, n_tiles, means):
    return features_file.Slides(path, ids, ids, np.arange(len(ids)), np.r_[0, np.cumsum(n_tiles)[:-1]], n_tiles, means,
                               np.zeros((len(ids), 3), np.float32), {}, "")


STEPS = {"whole": plain_step, "blocks": step_here}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[6, 600], help="a slide, default %(default)s")
    parser.add_argument("--genes", type=int, nargs="+", default=[5_000, 10_000, 18_000], help="default %(default)s")
    main(parser.parse_args())
