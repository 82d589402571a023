"""features/<Slide.ID>.h5, the features of one slide.

    features   float32 or float16 (n_tiles, n_features)   contiguous; zero rows when no tile is tissue
    coords     int32 (n_tiles, 2)      x, y of the top-left corner, pixels of level 0, row by row
        attributes as TRIDENT names them: patch_size (px of a tile as encoded), patch_size_level0,
        level0_magnification, target_magnification, overlap, name, level0_width, level0_height
    mean_rgb   float32 (n_tiles, 3)    mean colour of each tile as scanned, 0..255
    unreadable int32 (n_unreadable, 2) corners of tiles that could not be decoded
    attributes slide_id, patient_id, slide_index, n_rows, n_columns, n_tiles_total, slide_magnification,
               magnification_source, level0_tile_px, level0_width, level0_height, filename, slide_bytes,
               what decides the numbers (DECIDING), and content_sha256 of the three arrays
"""
import hashlib

import h5py
import numpy as np

from slide_ex import hdf5

MADE_BY = "slide_processing/1main_processing.py"
DECIDING = ("encoder", "weights", "weights_seed", "weights_sha256", "precision", "normalisation", "tile_px",
            "magnification")    # alike in all slides of a cohort
OWN = ("slide_id", "patient_id", "slide_index", "filename", "slide_bytes")    # of each slide


def path_of(project_path, slide_id):
    return project_path / "features" / f"{slide_id}.h5"


def write(path, features, coords, mean_rgb, unreadable, attributes):
    """Write one file; `attributes` are those of the docstring above, save content_sha256."""
    arrays = {"features": np.ascontiguousarray(features), "coords": np.asarray(coords, np.int32),
              "mean_rgb": np.asarray(mean_rgb, np.float32)}
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(array.tobytes())
    with h5py.File(path, "w", driver="core", backing_store=False) as file:
        for name, array in arrays.items():
            file[name] = array
        file["unreadable"] = np.asarray(unreadable, np.int32)
        file.attrs.update(attributes | {"content_sha256": digest.hexdigest()})
        file["coords"].attrs.update({
            "patch_size": attributes["tile_px"], "patch_size_level0": attributes["level0_tile_px"],
            "level0_magnification": attributes["slide_magnification"],
            "target_magnification": attributes["magnification"], "overlap": 0, "name": attributes["slide_id"],
            "level0_width": attributes["level0_width"], "level0_height": attributes["level0_height"]})
        file.flush()
        path.write_bytes(file.id.get_file_image())  # one plain write: a full disk is an ordinary error


def reading(path):
    """The open file (context manager); errors say what is wrong with it, by name."""
    return hdf5.reading(path, MADE_BY)


def read_attributes(path):
    """Its attributes, and n_tiles, without reading a tile."""
    with reading(path) as file:
        n_tiles, n_features = file["features"].shape
        if len(file["coords"]) != n_tiles or len(file["mean_rgb"]) != n_tiles:
            raise ValueError(f"{path} is damaged ({n_tiles} features, {len(file['coords'])} coords): make it again "
                             f"with {MADE_BY} --overwrite")
        return hdf5.attributes(file) | {"n_tiles": n_tiles, "n_features": n_features}


def read_colours(path):
    """mean_rgb, float32 (n_tiles, 3)."""
    with reading(path) as file:
        return file["mean_rgb"][:]
