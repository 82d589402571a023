"""What features.h5 costs over the slides' files (the default) and as a copy of them (--copy): collecting, reading.

    python tests/benchmarks/bench_features_file.py FOLDER [N_SLIDES] [N_TILES]

Makes slides of N_TILES x 2,048 features in FOLDER. Prints seconds of both and their ratio: of the collection, of a
start (what every script reads first), of all tiles slide by slide, of 16 tiles of each slide; warm, which means that
the machine has the files in memory, and cold, after it was told to forget them.
"""
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from slide_ex.project import feature_file, features_file, features_writing

N_FEATURES = 2048
RANDOM = np.random.default_rng(0)


def main(folder, n_slides=100, n_tiles=600):
    folder, n_slides, n_tiles = Path(folder), int(n_slides), int(n_tiles)
    slides = make_slides(folder, n_slides, n_tiles)
    both = {"virtual": folder / "features.h5", "copy": folder / "copy.h5"}
    print(f"{n_slides} slides of {n_tiles} tiles; seconds virtual, copy; copy / virtual")
    compare("collection", {name: lambda is_copy=name == "copy", path=path: collect(folder, slides, path, is_copy)
                           for name, path in both.items()})
    print("MB " + ", ".join(f"{name} {path.stat().st_size / 1e6:.1f}" for name, path in both.items()))
    compare("start", {name: lambda path=path: features_file.read_slides(path) for name, path in both.items()})
    opened = {name: features_file.read_slides(path) for name, path in both.items()}
    for what, rows in (("all tiles", None), ("16 tiles of each", np.sort(RANDOM.choice(n_tiles, 16, replace=False)))):
        for state in ("warm", "cold"):
            compare(f"{what}, {state}", {name: lambda found=found: read(found, rows) for name, found in opened.items()},
                    folder if state == "cold" else None)


def make_slides(folder, n_slides, n_tiles):
    """Feature files as slide processing writes them; the table of the slides."""
    ids = [f"S{i:04d}" for i in range(n_slides)]
    (folder / "features").mkdir(parents=True, exist_ok=True)
    for slide_id in ids:
        attributes = {name: 1 for name in (*feature_file.OWN, *feature_file.DECIDING)} | {
            "slide_id": slide_id, "patient_id": slide_id, "encoder": "resnet50", "weights_sha256": "0"}
        feature_file.write(feature_file.path_of(folder, slide_id), RANDOM.random((n_tiles, N_FEATURES), np.float32),
                           RANDOM.integers(0, 9999, (n_tiles, 2)), RANDOM.random((n_tiles, 3)), np.zeros((0, 2)),
                           attributes)
    return pd.DataFrame({"slide_id": ids, "patient_id": ids})


def collect(folder, slides, path, is_copy):
    sources = [feature_file.read_summary(feature_file.path_of(folder, slide_id)) for slide_id in slides.slide_id]
    attributes = features_writing.shared_attributes(sources, slides)
    if is_copy:
        n_tiles = np.array([source.shape[0] for source in sources])
        features_writing.write(path, slides, (feature_file.read_arrays(source.path) for source in sources), attributes,
                               n_tiles=n_tiles)
    else:
        features_writing.collect(path, slides, sources, attributes)


def read(slides, rows):
    with slides.opened("features") as of_slide:
        for row in range(len(slides.slide_ids)):
            of_slide(row) if rows is None else of_slide(row, rows)


def compare(what, functions, forget_in=None):
    seconds = {}
    for name, function in functions.items():
        forget(forget_in) if forget_in else None
        started = time.perf_counter()
        function()
        seconds[name] = time.perf_counter() - started
    print(f"{what:24} {seconds['virtual']:8.3f} {seconds['copy']:8.3f} {seconds['copy'] / seconds['virtual']:8.2f}",
          flush=True)


def forget(folder):
    """Ask the machine to drop what it has of the files in memory."""
    os.sync()
    for path in folder.rglob("*.h5"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main(*sys.argv[1:])
