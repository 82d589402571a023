"""What checksums of HDF5 files cost: the same features written and read without them, as h5py does, and with them.

    python tests/benchmarks/bench_checksums.py FOLDER [N_TILES]

Prints seconds (the best of three) and ratios, of files that the machine has in memory; and what it takes to open a file
with the names of 10 cell types x 10,000 genes, which are compared at each opening: with the seal, and without it.
"""
import sys
import time
from pathlib import Path

import h5py
import numpy as np

from slide_ex import hdf5

N_FEATURES, TILES_A_SLIDE = 2048, 300


def main(folder, n_tiles=40_000):
    plain, checked, names = (Path(folder) / f"{name}.h5" for name in ("plain", "checked", "names"))
    features = np.random.default_rng(0).random((int(n_tiles), N_FEATURES), np.float32)
    starts = range(0, len(features), TILES_A_SLIDE)
    print(f"{features.nbytes / 1e6:.0f} MB of features, {len(starts)} slides; seconds without, with checksums; ratio")
    compare("written", lambda: write_plain(plain, features, starts), lambda: write_checked(checked, features, starts))
    compare("read slide by slide", lambda: read(plain, starts), lambda: read(checked, starts))
    compare("16 tiles of each slide", lambda: read_some(plain, starts), lambda: read_some(checked, starts))
    with hdf5.reading(checked, "this") as file:
        print(f"sums of all blocks: {best(lambda: hdf5.sums_sha256(checked, file['features'])):.4f} s")
    with hdf5.writing(names) as file:
        for k in range(10):
            hdf5.write_strings(file, f"{k}/genes", [f"GENE{i}" for i in range(10_000)])
    compare("names of 100,000 genes", lambda: h5py.File(names).close(), lambda: open_checked(names))
    h5py.File(names, "r+").close()
    compare("without the seal", lambda: h5py.File(names).close(), lambda: open_checked(names))


def compare(what, without, with_checksums):
    seconds = best(without), best(with_checksums)
    print(f"{what:24} {seconds[0]:8.4f} {seconds[1]:8.4f} {seconds[1] / seconds[0]:8.1f}")


def best(function):
    def once():
        started = time.perf_counter()
        function()
        return time.perf_counter() - started
    return min(once() for _ in range(3))


def write_plain(path, features, starts):
    with h5py.File(path, "w") as file:
        fill(file.create_dataset("features", features.shape, "f4"), features, starts)


def write_checked(path, features, starts):
    with hdf5.writing(path) as file:
        hdf5.reserve(path, features.nbytes)
        fill(hdf5.new_array(file, "features", features.shape, "f4"), features, starts)


def fill(dataset, features, starts):
    for start in starts:
        dataset[start:start + TILES_A_SLIDE] = features[start:start + TILES_A_SLIDE]


def read(path, starts):
    with hdf5.reading(path, "this") as file:
        for start in starts:
            file["features"][start:start + TILES_A_SLIDE]


def read_some(path, starts):
    random = np.random.default_rng(0)
    with hdf5.reading(path, "this") as file:
        for start in starts[:-1]:
            file["features"][start + np.sort(random.choice(TILES_A_SLIDE, 16, replace=False))]


def open_checked(path):
    with hdf5.reading(path, "this"):
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
