"""Slide processing against the published way, written plainly in published_way.py: one run, same tiles, same weights.

    python tests/benchmarks/bench_slide_processing.py [slide ...] [--magnification 20]

Without a slide, one of 8 x 8 tiles is painted. Prints the CPU time of each step in one thread, wall time and tiles/s
of the whole stage on all CPUs of the job (to be read on an idle machine), the ratios, how far the numbers are
apart, and peak memory. A run on a GPU adds its row.
"""
import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import openslide
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "slide_processing"), str(ROOT / "tests")]    # the code under test

import published_way  # noqa: E402

import awake_resnet  # noqa: E402
import painted_slides  # noqa: E402
from encoding.tile_encoder import TileEncoder  # noqa: E402
from slide_ex import sharing  # noqa: E402
from slide_ex.slides import scale  # noqa: E402
from tiles import extraction, slide_reader, stain, tiling  # noqa: E402

N_TILES_OF_STEPS = 24


def mean_ms(step, items):
    """Mean time of step(item), ms, after a first call that does not count; and the results.

    Steps run in one thread: its CPU time leaves out what else the machine does.
    """
    step(items[0])
    started = time.process_time()
    results = [step(item) for item in items]
    return 1000 * (time.process_time() - started) / len(items), results


def steps(path, edge, network, weights):
    """Time of each step on one CPU: {name: (published ms, ours ms)}, per tile."""
    torch.set_num_threads(1)
    encoders = {precision: TileEncoder("resnet50", str(weights), 0, precision, "cpu") for precision in ("fp32", "bf16")}
    encoder = encoders["fp32"]
    table = {}
    with openslide.OpenSlide(path) as plain, slide_reader.SlideReader(path) as reader:
        corners = published_way.grid(plain, edge)
        read, tiles = mean_ms(lambda corner: published_way.read_tile(plain, *corner, edge), corners)
        table["read and resize"] = read, mean_ms(lambda corner: reader.read_tile(*corner, edge), corners)[0]
    table["tissue test"] = mean_ms(published_way.is_tissue, tiles)[0], mean_ms(tiling.is_tissue, tiles)[0]
    kept = [tile for tile in tiles if tiling.is_tissue(tile)][:N_TILES_OF_STEPS]
    published_ms, published = mean_ms(published_way.macenko, kept)
    ours_ms, ours = mean_ms(stain.normalise, kept)
    table["stain normalisation"] = published_ms, ours_ms
    print(f"stain normalisation of {len(kept)} tiles: at most "
          f"{max(np.abs(a.astype(int) - b).max() for a, b in zip(published, ours))} grey level apart")
    published_ms, inputs = mean_ms(published_way.transform, published)
    table["resize to the encoder"] = published_ms, mean_ms(encoder.picture, ours)[0]
    prepared = [encoder.prepare(tile) for tile in kept[:8]]
    with torch.no_grad():
        published_ms, _ = mean_ms(lambda batch: network(torch.stack(batch)), [inputs[:8]] * 2)
    for precision, ours in encoders.items():
        table[f"ResNet-50 {precision}"] = published_ms / 8, mean_ms(ours.encode, [prepared] * 2)[0] / 8
    return table


def timed(name, function, n_tiles):
    """Run, print and give the seconds and the result."""
    started, cpu_started = time.perf_counter(), time.process_time()
    result = function()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {name:20s} {seconds:7.2f} s ({cpu_seconds:6.2f} s of CPU)  {n_tiles / seconds:6.1f} tiles/s   "
          f"peak memory so far {peak_mb:5.0f} MB")
    return seconds, result


def cosines(a, b):
    return np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def bench(path, magnification, network, weights):
    """Both ways on one slide."""
    edge = scale.level0_tile_px(magnification, tiling.TILE_PX, tiling.MAGNIFICATION)
    print(f"\n{path.name} at {magnification:g}x")
    for name, (published_ms, ours_ms) in steps(path, edge, network, weights).items():
        print(f"  {name:22s} published {published_ms:7.2f} ms a tile, ours {ours_ms:6.2f} ms, "
              f"{published_ms / ours_ms:5.1f} times faster (one CPU)")
    with slide_reader.SlideReader(path) as reader:
        grid = tiling.grid_of(*reader.size, edge)
    n_cpus = sharing.n_cpus()
    runs = {}
    devices = [("fp32", "cpu"), ("bf16", "cpu")] + [(p, "cuda") for p in ("fp32", "bf16") if torch.cuda.is_available()]
    print(f"whole stage, {len(grid)} tiles, {n_cpus} CPUs")
    for precision, device in devices:
        encoder = TileEncoder("resnet50", str(weights), 0, precision, device)
        runs[precision, device] = timed(f"ours, {precision} on {device}", lambda: extraction.extract(
            path, grid, encoder, n_cpus), len(grid))
    torch.set_num_threads(n_cpus)
    plain_s, (corners, features) = timed(
        "published", lambda: published_way.slide_features(path, edge, network), len(grid))
    for (precision, device), (seconds, found) in runs.items():
        assert np.array_equal(grid.corners[found.kept], corners), "the tiles differ"
        print(f"  {precision} on {device}: {plain_s / seconds:4.1f} times faster, {len(corners)} tiles kept by both, "
              f"least cosine of a tile's features {cosines(found.features, features).min():.7f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("slides", nargs="*", type=Path)
    p.add_argument("--magnification", type=float, default=20, help="of the slides, default %(default)s")
    args = p.parse_args()
    network = awake_resnet.network().to(memory_format=torch.contiguous_format)
    with tempfile.TemporaryDirectory() as folder:
        weights = awake_resnet.save(Path(folder) / "weights.pth")
        if not args.slides:
            args.slides = [Path(folder) / "painted.svs"]
            painted_slides.write_svs(args.slides[0], painted_slides.slide_picture(8, 8, glass=range(24)))
        for path in args.slides:
            bench(path, args.magnification, network, weights)


if __name__ == "__main__":
    main()
