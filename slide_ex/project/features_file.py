"""features.h5, the features of all slides. This module owns the format, which data/README.md describes.

Features are copied slide by slide, so memory does not grow with the cohort.
"""
import hashlib
import os

import h5py
import numpy as np
from tqdm import tqdm

from slide_ex.project import feature_file

MUST_AGREE = ("encoder", "weights", "weights_seed", "weights_sha256", "precision", "normalisation", "tile_px",
              "magnification")
HDF5_OVERHEAD_BYTES = 1 << 20   # generous: headers, ids


def shared_attributes(sources, slides):
    """Attributes that the slides' files share, with `content_sha256` of all slides in order.

    Parameters
    ----------
    sources : list of Path
        Feature files in the order of `slides` (DataFrame of `slide_table.read_slides`).

    Raises
    ------
    ValueError
        The files differ in MUST_AGREE, or hold another slide or patient than metadata.csv says.
    """
    digest, shared = hashlib.sha256(), None
    for path, slide in zip(sources, slides.itertuples()):
        with feature_file.opened(path) as file:
            found = dict(file.attrs)
        for name in ("slide_id", "patient_id"):
            if found[name] != getattr(slide, name):
                raise ValueError(f"{path} holds {name} {found[name]}, metadata.csv says {getattr(slide, name)}: "
                                 "run 1main_processing.py again with --overwrite")
        shared = shared or found
        for name in MUST_AGREE:
            if found[name] != shared[name]:
                raise ValueError(f"{path} has {name} = {found[name]}, {sources[0].name} has {shared[name]}: "
                                 "process all slides in the same way")
        shared = {name: value for name, value in shared.items() if found.get(name) == value}
        digest.update(f"{slide.slide_id}\t{slide.patient_id}\t{found['content_sha256']}\n".encode())
    own = ("slide_id", "patient_id", "slide_index", "filename", "slide_bytes")
    return {name: value for name, value in shared.items() if name not in own} | {"content_sha256": digest.hexdigest()}


def check(path, attributes, dtype):
    """Refuse a features.h5 that was made from other files or with another number format."""
    with h5py.File(path) as file:
        if file.attrs.get("content_sha256") != attributes["content_sha256"]:
            raise ValueError(f"{path} was made from other slides or features: use --overwrite")
        if file["features"].dtype != dtype:
            raise ValueError(f"{path} was made with --dtype {file['features'].dtype}, not {dtype}: use --overwrite")


def write(path, sources, slides, attributes, dtype):
    """Write the file; gives the number of tiles of each slide, int (n_slides,)."""
    shapes = []
    for source in sources:
        with feature_file.opened(source) as file:
            shapes.append(file["features"].shape)
    n_tiles, n_features = np.array([n for n, _ in shapes]), shapes[0][1]
    first_tile = np.concatenate([[0], np.cumsum(n_tiles)])
    reserve(path, first_tile[-1] * (n_features * np.dtype(dtype).itemsize + 8) + len(sources) * 4 * (n_features + 3))
    means = {"features": np.full((len(sources), n_features), np.nan, np.float32),
             "mean_rgb": np.full((len(sources), 3), np.nan, np.float32)}
    with h5py.File(path, "w") as out:
        features = out.create_dataset("features", (first_tile[-1], n_features), dtype)
        coords = out.create_dataset("coords", (first_tile[-1], 2), np.int32)
        for i, source in enumerate(tqdm(sources, unit="slide", disable=None)):
            rows = slice(first_tile[i], first_tile[i + 1])
            with feature_file.opened(source) as file:
                features[rows], coords[rows] = file["features"][:], file["coords"][:]
                for name, mean in means.items():
                    if n_tiles[i]:
                        mean[i] = file[name][:].mean(axis=0, dtype=np.float64)
        out["mean_features"], out["mean_rgb"] = means["features"], means["mean_rgb"]
        out["first_tile"] = first_tile.astype(np.int64)
        for name, ids in (("slide_ids", slides.slide_id), ("patient_ids", slides.patient_id)):
            out.create_dataset(name, data=ids.tolist(), dtype=h5py.string_dtype())
        out.attrs.update(attributes)
    return n_tiles


def reserve(path, n_bytes):
    """Make sure that the disk has room for a file: HDF5 itself crashes when it runs out."""
    try:
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, int(n_bytes) + HDF5_OVERHEAD_BYTES)
    except OSError as error:
        raise OSError(f"no room for {n_bytes / 1e9:.2g} GB in {path.parent}: {error}") from None


def draw_tile_counts(path, n_tiles):
    """Histogram of the number of tissue tiles of the slides."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(n_tiles, bins=30, color="0.4")
    axes.set(xlabel="tissue tiles of a slide", ylabel="slides",
             title=f"{len(n_tiles)} slides, {n_tiles.sum():,} tiles, median {np.median(n_tiles):g}, "
                   f"{(n_tiles == 0).sum()} empty")
    axes.title.set_size(9)
    figure.savefig(path, metadata={"CreationDate": None})
