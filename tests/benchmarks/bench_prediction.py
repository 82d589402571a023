"""Speed and agreement of prediction against a plain loop over slides and genes, as published; ratios in one run.

    python tests/benchmarks/bench_prediction.py                       # metrics, training step, agreement: minutes
    python tests/benchmarks/bench_prediction.py --folds 2             # and models of a cohort of 1,000 slides
    python tests/benchmarks/bench_prediction.py --only step --tiles 2400
"""
import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "prediction"), str(ROOT / "tests")]

import bench_training_step  # noqa: E402
import simulated_cohort  # noqa: E402
from evaluation import association, out_of_fold  # noqa: E402
from slide_ex.project import features_file, targets_file  # noqa: E402
from training import mlp, model_config, patient_splits, pooling  # noqa: E402

N_FEATURES = 2048
CPU = torch.device("cpu")


def main(args):
    torch.set_num_threads(args.threads)
    print(f"{args.threads} threads of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for part in args.only:
        PARTS[part](args)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB, "
          f"load {os.getloadavg()[0]:.1f}")


def metrics(args):
    """R and slope of all genes on validation slides: one matrix expression against a call per gene."""
    random = np.random.default_rng(0)
    labels = random.normal(size=(200, args.genes)).astype(np.float32)
    predictions = labels + random.normal(size=labels.shape).astype(np.float32)

    def plain(n):
        r = np.array([stats.pearsonr(labels[:, gene], predictions[:, gene])[0] for gene in range(n)])
        return r, np.array([np.polyfit(labels[:, gene], predictions[:, gene], 1)[0] for gene in range(n)])

    n_plain = args.genes // 10  # a tenth of the genes, scaled: the loop is linear in them
    (r, slope), plain_s = timed(lambda: plain(n_plain))
    (fast_r, fast_slope), fast_s = best_of(9, lambda: association.pearson_and_slope(predictions, labels))
    assert np.allclose(fast_r[:n_plain], r, atol=1e-4) and np.allclose(fast_slope[:n_plain], slope, atol=1e-4)
    print(f"metrics, {args.genes} genes x 200 slides: loop {plain_s * args.genes / n_plain:.1f} s, "
          f"matrix {fast_s * 1e3:.0f} ms, {plain_s * args.genes / n_plain / fast_s:.0f} x faster")


def step(args):
    """One training step of 32 slides: the loop as published, tiles, mean; the same masks, the same losses."""
    for n_tiles in args.tiles:
        step_of(n_tiles, args.genes)


def step_of(n_tiles, n_genes):
    with tempfile.TemporaryDirectory() as folder:
        slides = bench_training_step.wide_slides(Path(folder), 32, n_tiles)
        config = model_config.Config("regression", "tiles", 1, 1)
        labels, rows = torch.randn(32, n_genes, generator=torch.Generator().manual_seed(1)), torch.arange(32)
        tile_pool = pooling.TilePooling(slides, CPU)
        bags = tile_pool.tiles.split(slides.n_tiles.tolist())
        losses, seconds = {}, {}

        def plain(network, generator):
            outputs = []
            for bag in bags:
                hidden = network.first(bag)
                kept = torch.rand(hidden.shape, generator=generator) >= config.dropout
                outputs.append(network.last(hidden * kept / (1 - config.dropout)).mean(0))
            return torch.stack(outputs)

        mean_pool = pooling.MeanPooling(slides, CPU)
        forwards = {"loop": plain, "tiles": lambda network, generator: tile_pool(network, rows, generator),
                    "mean": lambda network, generator: mean_pool(network, rows, generator)}
        for name, forward in forwards.items():
            one_step = bench_training_step.STEPS["whole" if name == "loop" else "blocks"](config, forward, labels)
            steps = [timed(one_step) for _ in range({"loop": 2, "tiles": 4, "mean": 20}[name])]
            losses[name] = [loss for (loss,), _ in steps[:2]]  # the second one after an update of all weights
            seconds[name] = min(wall_s for _, wall_s in steps)
    assert np.allclose(losses["loop"], losses["tiles"], atol=1e-5)
    print(f"step, 32 slides x {n_tiles} tiles, {n_genes} genes: loop {seconds['loop']:.2f} s, "
          f"tiles {seconds['tiles']:.2f} s ({seconds['loop'] / seconds['tiles']:.1f} x), "
          f"mean {seconds['mean'] * 1e3:.0f} ms ({seconds['loop'] / seconds['mean']:.0f} x); "
          f"loss loop {losses['loop'][1]:.7f}, tiles {losses['tiles'][1]:.7f}, mean {losses['mean'][1]:.7f}")


def agreement(args):
    """R per gene of tiles, mean and another seed, out of fold, on the same folds."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        project = simulated_cohort.write(Path(folder), n_patients=200, n_second_slides=20, n_tiles=(4, 14),
                                         n_features=512, n_genes=500, noise=2.0)
        slides = features_file.read_slides(project / "features.h5")
        target = targets_file.read_expression(project / "targets.h5", "CAFs")
        splits = patient_splits.draw(sorted(set(slides.patient_ids)), 5, 5, 42)
        r = {(name, seed): out_of_fold_r(slides, target, splits, pool, seed)
             for name, pool in (("tiles", pooling.TilePooling), ("mean", pooling.MeanPooling)) for seed in (42, 43)}
    for a, b in ((("tiles", 42), ("mean", 42)), (("tiles", 43), ("mean", 43)), (("tiles", 42), ("tiles", 43))):
        difference = r[a] - r[b]
        print(f"agreement, 200 patients, 8 tiles a slide, 500 genes, 5 models: {a} {np.median(r[a]):.4f}, "
              f"{b} {np.median(r[b]):.4f}, median |difference of R| {np.median(np.abs(difference)):.4f}, "
              f"mean difference {difference.mean():+.4f}")


def out_of_fold_r(slides, target, splits, pool, seed):
    """R per gene over patients, by the first inner model of each outer fold."""
    pool, labels = pool(slides, CPU), torch.from_numpy(target.of_slides(slides))
    config = model_config.Config("regression", "", 500, 50, seed=seed)
    rows, predictions = [], []
    for fold in splits["outer"]:
        parts = (*fold["inner"][0].values(), fold["test"])
        train, valid, test = (torch.from_numpy(slides.rows_of(part)) for part in parts)
        network, _ = mlp.fit(pool, labels, train, valid, config)
        rows.append(test.numpy())
        predictions.append(mlp.predict(network, pool, test))
    rows = np.concatenate(rows)
    _, _, known, predicted = out_of_fold.per_patient(slides.patient_ids[rows], labels.numpy()[rows],
                                                     np.concatenate(predictions), target.outputs)
    return association.pearson(predicted, known)


def cohort(args):
    """Models of one cell type for 1,000 slides and 5,000 genes, `mean`, one thread each, until they stop."""
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    states = random.normal(size=(1000, 30)).astype(np.float32)
    means = states @ random.normal(size=(30, N_FEATURES)).astype(np.float32) * 0.1 + 0.4
    means += 0.05 * random.normal(size=means.shape).astype(np.float32)
    labels = states @ random.normal(size=(30, 5000)).astype(np.float32)
    labels += 8 * random.normal(size=labels.shape).astype(np.float32)
    ids = np.array([f"P{i:04d}" for i in range(1000)])
    slides = bench_training_step.slides_of(Path(), ids, np.full(1000, 2400), means)
    splits = patient_splits.draw(list(ids), 5, 5, 42)
    pool, labels = pooling.MeanPooling(slides, CPU), torch.from_numpy(labels)
    seconds = []
    for fold in splits["outer"][0]["inner"][:args.folds]:
        train, valid = (torch.from_numpy(slides.rows_of(fold[part])) for part in ("train", "valid"))
        config = model_config.Config("regression", "mean", 500, 50)
        cpu_s = -time.process_time()  # of one thread: what a core that has nothing else to do needs
        (_, history), wall_s = timed(lambda train=train, valid=valid: mlp.fit(pool, labels, train, valid, config))
        cpu_s += time.process_time()
        seconds.append(cpu_s)
        print(f"model of 1,000 slides, 5,000 genes: {len(history)} epochs, {cpu_s:.0f} s of one core ({wall_s:.0f} s), "
              f"best valid_r {max(epoch['valid_r'] for epoch in history):.3f}")
    minutes = np.mean(seconds) * 25 / 2 / 60
    print(f"25 models on 2 cores: {minutes:.0f} minutes; 225 models: {minutes * 9 / 60:.1f} hours")


def start_up(args):
    """A features.h5 in the shape of TCGA (float16, sparse on disk): what a start in `mean` mode reads."""
    with tempfile.TemporaryDirectory() as folder:
        path, n_slides, n_tiles = Path(folder) / "features.h5", 1096, 2400
        with h5py.File(path, "w") as file:
            file.create_dataset("features", (n_slides * n_tiles, N_FEATURES), "f2")  # 10 GiB, no bytes on disk
            file["slide_ids"] = file["patient_ids"] = [f"S{i}" for i in range(n_slides)]
            file["first_tile"] = np.arange(n_slides + 1) * n_tiles
            file["mean_features"] = np.ones((n_slides, N_FEATURES), np.float32)
            file["mean_rgb"] = np.ones((n_slides, 3), np.float32)
            file.attrs.update(encoder="resnet50", weights="imagenet", weights_sha256="0" * 64)
            gibibytes = file["features"].nbytes / 2**30
        read = read_bytes()
        _, seconds = timed(lambda: pooling.MeanPooling(features_file.read_slides(path), CPU))
        print(f"start-up, mean, {gibibytes:.1f} GiB of tiles: {seconds:.2f} s, "
              f"read {(read_bytes() - read) / 2**20:.0f} MiB")


def read_bytes():
    """Bytes this process has read through system calls."""
    return int(Path("/proc/self/io").read_text().split()[1])


def timed(work):
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def best_of(n, work):
    return min((timed(work) for _ in range(n)), key=lambda pair: pair[1])


PARTS = {"metrics": metrics, "step": step, "agreement": agreement, "start_up": start_up, "cohort": cohort}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--genes", type=int, default=18_000, help="of metrics and step, default %(default)s")
    parser.add_argument("--tiles", type=int, nargs="+", default=[200, 800, 2400], help="a slide in step")
    parser.add_argument("--folds", type=int, default=1, help="models of the cohort, 1 to 5, default %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="of the loop and of the step, default %(default)s")
    main(parser.parse_args())
