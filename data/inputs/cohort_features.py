"""Writes features.h5 from features that were extracted elsewhere; the format is that of data/README.md.

What nobody recorded is marked: coords -1, mean_rgb NaN, weights "imported" with an empty weights_sha256.
"""
import hashlib

import h5py
import numpy as np
from tqdm import tqdm

CHUNK_TILES = 1024
WEIGHTS = {"weights": "imported", "weights_sha256": "", "weights_seed": -1}


def write(path, slides, bags, attributes):
    """Write the features of all slides, one slide in memory at a time.

    Parameters
    ----------
    slides : DataFrame with slide_id and patient_id
    bags : iterable, in the order of `slides`, of features (n_tiles, n_features) and coords (n_tiles, 2) or None
    attributes : dict; content_sha256 is added

    Returns
    -------
    n_tiles : list of int. ValueError for arrays of other shapes and for numbers that are not finite.
    """
    n_tiles, means, digest, n_features, file = [], [], hashlib.sha256(), None, h5py.File(path, "w")
    with file:
        for slide, (features, coords) in zip(slides.itertuples(), tqdm(bags, total=len(slides), disable=None)):
            check(features, slide.slide_id, n_features)
            if n_features is None:
                n_features = features.shape[1]
                dtype = np.float16 if features.dtype == np.float16 else np.float32
                tiles = file.create_dataset("features", (0, n_features), dtype, maxshape=(None, n_features),
                                            chunks=(CHUNK_TILES, n_features))
                corners = file.create_dataset("coords", (0, 2), np.int32, maxshape=(None, 2), chunks=(CHUNK_TILES, 2))
            for dataset, values in ((tiles, features), (corners, -1 if coords is None else coords)):
                dataset.resize(len(dataset) + len(features), axis=0)
                dataset[len(dataset) - len(features):] = values
            n_tiles.append(len(features))
            means.append(features.mean(axis=0, dtype=np.float64) if len(features) else np.full(n_features, np.nan))
            digest.update(f"{slide.slide_id}\t{slide.patient_id}\t".encode() + np.ascontiguousarray(features).tobytes())
        file["first_tile"] = np.concatenate([[0], np.cumsum(n_tiles)]).astype(np.int64)
        file["mean_features"] = np.array(means, np.float32)
        file["mean_rgb"] = np.full((len(slides), 3), np.nan, np.float32)
        for name, ids in (("slide_ids", slides["slide_id"]), ("patient_ids", slides["patient_id"])):
            file.create_dataset(name, data=list(ids), dtype=h5py.string_dtype())
        file.attrs.update(WEIGHTS | attributes | {"content_sha256": digest.hexdigest()})
    return n_tiles


def check(features, slide_id, n_features):
    """ValueError unless `features` are finite floating numbers (n_tiles, n_features); n_features None: any number."""
    if features.ndim != 2 or n_features not in (None, features.shape[1]) or features.dtype.kind != "f":
        raise ValueError(f"features of {slide_id} are {features.dtype} of shape {features.shape}, needed: floating "
                         f"numbers (n_tiles, {n_features or 'n_features'}), alike for all slides")
    if not np.isfinite(features).all():
        raise ValueError(f"features of {slide_id} are not all finite: extract them again")
