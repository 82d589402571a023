"""Writes features.h5: over the files of the slides (`collect`), or with a copy of all features (`write`).

Of a copy one slide at a time is in memory; of the other no tile is read.
"""
import hashlib
import logging

import numpy as np
from tqdm import tqdm

from slide_ex import checksums, hdf5
from slide_ex.project import feature_file
from slide_ex.project.features_file import OF_SLIDES
from slide_ex.slides import scale


def collected_sha256(slides, of_content):
    """content_sha256 of a collection of slides (table with slide_id and patient_id) with these checksums, in order."""
    return checksums.of_text("".join(f"{slide.slide_id}\t{slide.patient_id}\t{content}\n"
                                     for slide, content in zip(slides.itertuples(), of_content)))


def geometry_of(made):
    """What is recorded of a slide (dict, OF_SLIDES), from the attributes of its feature file."""
    power = made.get("slide_magnification")
    return {"patch_size_level0": made.get("level0_tile_px"), "overlap": 0, "level0_width": made.get("level0_width"),
            "level0_height": made.get("level0_height"), "level0_mpp": power and scale.MPP_TIMES_POWER / power,
            **{name: made.get(name) for name in ("scale_difference", "he_share", "blurred_share", "pen_share")}}


def refuse_twins(slide_ids, patient_ids, contents):
    """ValueError for the same scan (equal checksums of the features) under two patients; a line for one that a patient
    has twice."""
    first = {}
    for slide_id, patient_id, content in zip(slide_ids, patient_ids, contents):
        other, its_patient = first.setdefault(content, (slide_id, patient_id))
        if its_patient != patient_id:
            raise ValueError(f"{other} of {its_patient} and {slide_id} of {patient_id} are the same scan (equal "
                             "features) under two patients: keep the row of the right one in metadata.csv")
        if other != slide_id:
            logging.info("%s and %s of %s are the same scan (equal features), which counts twice: take one out of "
                         "metadata.csv", other, slide_id, patient_id)


def shared_attributes(sources, slides):
    """Attributes that the slides' files share, with content_sha256 of all slides in order.

    Parameters
    ----------
    sources : list of feature_file.Summary, in the order of `slides` (table of metadata_file.read)

    Raises
    ------
    ValueError
        The files differ in feature_file.DECIDING, or hold another slide or patient than metadata.csv says.
    """
    shared = sources[0].attributes
    for source, slide in zip(sources, slides.itertuples()):
        found = source.attributes
        for name in ("slide_id", "patient_id"):
            if found.get(name) != getattr(slide, name):
                raise ValueError(f"{source.path} holds {name} {found.get(name)}, metadata.csv says "
                                 f"{getattr(slide, name)}: run 1main_processing.py again with --overwrite")
        for name in feature_file.DECIDING:
            if found[name] != shared[name]:
                own, others = map(checksums.shown, (found[name], shared[name]))
                raise ValueError(f"{source.path} has {name} = {own}, {sources[0].path.name} has {others}: process all "
                                 "slides in the same way")
        shared = {name: value for name, value in shared.items() if found.get(name) == value}
    content = np.array([source.attributes["content_sha256"] for source in sources])
    has_tiles = np.array([source.shape[0] > 0 for source in sources])
    refuse_twins(slides.slide_id[has_tiles], slides.patient_id[has_tiles], content[has_tiles])
    shared = {name: value for name, value in shared.items() if name not in feature_file.OWN}
    return shared | {"content_sha256": collected_sha256(slides, content)}


def collect(path, slides, sources, attributes):
    """Write the file over those of the slides, which stay where they are: features/<Slide.ID>.h5 beside it.

    Parameters
    ----------
    slides : DataFrame with slide_id and patient_id
    sources : list of feature_file.Summary, in the order of `slides`; all with checksums
    attributes : dict of `shared_attributes`
    """
    with hdf5.writing(path) as file:
        for name, width, dtype, fill in (("features", sources[0].shape[1], sources[0].dtype, np.nan),
                                         ("coords", 2, np.int32, -1)):
            hdf5.write_virtual(file, name, [(f"{source.path.parent.name}/{source.path.name}",
                                             (source.shape[0], width), dtype) for source in sources], fill)
        hdf5.write_strings(file, "slide_sums", [source.sums_sha256 for source in sources])
        write_index(file, slides, [source.shape[0] for source in sources], [one.mean_features for one in sources],
                    [one.mean_rgb for one in sources], [geometry_of(one.attributes) for one in sources])
        file.attrs.update(attributes)


def write(path, slides, bags, attributes, dtype=None, n_tiles=None, geometry=()):
    """Write the file with a copy of all features.

    Parameters
    ----------
    slides : DataFrame with slide_id and patient_id
    bags : iterable, in the order of `slides`, of features (n_tiles, n_features), coords (n_tiles, 2) or None, and
        mean_rgb (n_tiles, 3) or None
    attributes : dict; without content_sha256, that of the features is added
    dtype : of the features; without it that of the first bag; `stored` refuses what does not fit
    n_tiles : int array (n_slides,), where it is known before: then room is reserved
    geometry : list of dict, what is recorded of each slide (OF_SLIDES)

    Returns
    -------
    n_tiles : int array (n_slides,). ValueError for arrays of other shapes and for numbers that are not finite.
    """
    counts, means, colours, contents, tells, datasets = [], [], [], [], [], None
    is_hashed = "content_sha256" not in attributes
    with hdf5.writing(path) as file:
        for slide, (features, coords, rgb) in zip(slides.itertuples(), tqdm(bags, total=len(slides), unit="slide",
                                                                            disable=None)):
            check_bag(features, coords, slide.slide_id, datasets and datasets[0].shape[1])
            if datasets is None:
                datasets = make_datasets(file, path, features, dtype, n_tiles)
            if is_hashed:
                contents.append(hashlib.sha256(np.ascontiguousarray(features).tobytes()).hexdigest())
                tells.append(features.size > 0 and features.min() < features.max())
            features = feature_file.stored(features, datasets[0].dtype, slide.slide_id)
            first = sum(counts)
            for dataset, values in zip(datasets, (features, -1 if coords is None else coords)):
                if n_tiles is None:
                    dataset.resize(first + len(features), axis=0)
                dataset[first:first + len(features)] = values
            counts.append(len(features))
            means.append(feature_file.mean_of(features, features.shape[1]))
            colours.append(feature_file.mean_of(rgb, 3))
        hdf5.record_sums(path, datasets[0])
        write_index(file, slides, counts, means, colours, geometry)
        if is_hashed:
            refuse_twins(slides.slide_id[tells], slides.patient_id[tells], np.array(contents)[tells])
            attributes = attributes | {"content_sha256": collected_sha256(slides, contents)}
        file.attrs.update(attributes)
    return np.array(counts)


def write_index(file, slides, n_tiles, means, colours, geometry):
    """All of the file but its tiles."""
    hdf5.write_array(file, "mean_features", means, np.float32)
    hdf5.write_array(file, "mean_rgb", colours, np.float32)
    hdf5.write_array(file, "first_tile", [0, *np.cumsum(n_tiles)], np.int64)
    for name, values in (("slide_ids", slides.slide_id), ("patient_ids", slides.patient_id)):
        hdf5.write_strings(file, name, values)
    for name in OF_SLIDES if geometry else ():
        hdf5.write_array(file, name, [one.get(name) for one in geometry], float)


def make_datasets(file, path, features, dtype, n_tiles):
    """The datasets features and coords of a new file: of the final size where it is known, else growing."""
    n_features = features.shape[1]
    dtype = np.dtype(dtype or (np.float16 if features.dtype == np.float16 else np.float32))
    if n_tiles is not None:
        hdf5.reserve(path, n_tiles.sum() * (n_features * dtype.itemsize + 8) + len(n_tiles) * 4 * (n_features + 3))
    return [hdf5.new_array(file, name, (0 if n_tiles is None else n_tiles.sum(), width), kind, grows=n_tiles is None)
            for name, width, kind in (("features", n_features, dtype), ("coords", 2, np.int32))]


def check_bag(features, coords, slide_id, n_features):
    """ValueError unless `features` are floating numbers (n_tiles, n_features), as many as coords."""
    if features.ndim != 2 or n_features not in (None, features.shape[1]) or features.dtype.kind != "f":
        raise ValueError(f"features of {slide_id} are {features.dtype} of shape {features.shape}, needed: floating "
                         f"numbers (n_tiles, {n_features or 'n_features'}), alike for all slides")
    if coords is not None and len(coords) != len(features):
        raise ValueError(f"{slide_id} has {len(features)} features and {len(coords)} coords: extract it again")
