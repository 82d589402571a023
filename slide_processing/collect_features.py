"""The features of all slides as one file, slide after slide, with their patients and per-slide means.

By default features.h5 has no tile of its own: its datasets are virtual ones of HDF5 over features/*.h5, by paths from
the project, so a project can be moved as a whole. With --copy, or --dtype, the features are copied, and features.h5 can
be moved alone.

Reads   <project>/metadata.csv, <project>/features/<Slide.ID>.h5 of every slide
Writes  <project>/features.h5         see data/README.md
        <project>/tile_counts.pdf     number of tissue tiles of the slides

    python slide_processing/collect_features.py my_project
"""
import json
import logging

from slide_ex.script import parser, run, whole

import numpy as np
from tqdm import tqdm

from slide_ex import hdf5, record
from slide_ex.ids import format_indexes, some
from slide_ex.project import feature_file, features_file, features_writing, metadata_file
from tiles import slide_status, tile_counts


def arguments():
    p = parser(__doc__)
    p.add_argument("--copy", action="store_true", help="of all features, into features.h5, which can be moved alone")
    p.add_argument("--dtype", choices=["float32", "float16"],
                   help="of the features in a copy; float16 halves it, default that of the slides' files")
    p.add_argument("--allow-missing", type=int, default=0, metavar="N",
                   help="go on without up to N slides; results/missing_slides.csv lists them, default %(default)s")
    return p.parse_args()


def main(args):
    slides = metadata_file.read(args.project_path)
    status = slide_status.of_slides(args.project_path, slides)
    for line in slide_status.report(status):
        logging.info(line)
    missing = status[~status.status.isin(["done", "empty"])]
    if len(missing) > args.allow_missing or len(missing) == len(slides):
        raise FileNotFoundError(f"no features of {len(missing)} of {len(slides)} slides, {some(missing.slide_id)}: run "
                                f"1main_processing.py with slide index {format_indexes(missing.index)}")
    slides = slides.drop(missing.index)
    sources = [feature_file.read_summary(feature_file.path_of(args.project_path, slide_id))
               for slide_id in tqdm(slides.slide_id, unit="slide", disable=None)]
    attributes = features_writing.shared_attributes(sources, slides)
    if len(missing):
        attributes["missing_slide_ids"] = json.dumps(missing.slide_id.tolist())
    n_tiles = np.array([source.shape[0] for source in sources])
    out, counts = args.project_path / features_file.NAME, args.project_path / "tile_counts.pdf"
    is_copied = bool(args.copy or args.dtype)
    now = {"content_sha256": attributes["content_sha256"], "dtype": args.dtype or str(sources[0].dtype)} | (
        {"copy": True} if is_copied else {})
    is_collected = record.is_finished([out], lambda: made_with(out, now), now, args.overwrite, remedy="use --overwrite")
    if is_collected and counts.is_file():
        logging.info("%s is finished", out.name)
        return
    if not is_collected:
        out.unlink(missing_ok=True)
    with whole(counts) as part:
        tile_counts.draw(part, n_tiles)
    if not is_collected:
        with whole(out) as part:
            write(part, slides, sources, attributes, is_copied, args.dtype, n_tiles)
    logging.info("features.h5: %d slides of %d patients, %d tiles, %s, weights %s", len(slides),
                 slides.patient_id.nunique(), n_tiles.sum(), attributes["encoder"], attributes["weights"])


def write(path, slides, sources, attributes, is_copied, dtype, n_tiles):
    """Write features.h5 over the slides' files, or a copy of what is in them."""
    unverified = [source.attributes["slide_id"] for source in sources if not source.sums_sha256]
    if unverified and not is_copied:
        logging.info("features are copied, because a change of those of %s would not be noticed: their files are of an "
                     "earlier version, without checksums", some(unverified, 3))
    if unverified or is_copied:
        bags = (feature_file.read_arrays(source.path) for source in sources)
        geometry = [features_writing.geometry_of(source.attributes) for source in sources]
        features_writing.write(path, slides, bags, attributes, dtype, n_tiles, geometry)
    else:
        features_writing.collect(path, slides, sources, attributes)


def made_with(path, asked):
    """What decides the contents of a features.h5 that is there, in the names of `asked`: a copy serves everybody."""
    with hdf5.reading(path, features_file.MADE_BY) as file:
        made = {"content_sha256": file.attrs.get("content_sha256"), "dtype": str(file["features"].dtype),
                "copy": not features_file.is_virtual(file)}
        return {name: made[name] for name in asked}


if __name__ == "__main__":
    run(main, arguments(), "collect_features")
