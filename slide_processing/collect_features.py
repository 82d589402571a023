"""The features of all slides in one file, slide after slide, with their patients and per-slide means.

Reads   <project>/metadata.csv, <project>/features/<Slide.ID>.h5 of every slide
Writes  <project>/features.h5         see data/README.md
        <project>/tile_counts.pdf     number of tissue tiles of the slides

    python slide_processing/collect_features.py my_project
"""
import json
import logging

from slide_ex.script import parser, run, whole
from slide_ex import hdf5, record
from slide_ex.ids import format_indexes, some
from slide_ex.project import feature_file, features_file, metadata_file
from tiles import slide_status, tile_counts


def arguments():
    p = parser(__doc__)
    p.add_argument("--dtype", default="float32", choices=["float32", "float16"],
                   help="of the features in features.h5; float16 halves the file, default %(default)s")
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
    sources = [feature_file.path_of(args.project_path, slide_id) for slide_id in slides.slide_id]
    attributes, n_tiles = features_file.shared_attributes(sources, slides)
    if len(missing):
        attributes["missing_slide_ids"] = json.dumps(missing.slide_id.tolist())
    out, counts = args.project_path / features_file.NAME, args.project_path / "tile_counts.pdf"
    now = {"content_sha256": attributes["content_sha256"], "dtype": args.dtype}
    is_collected = record.is_finished([out], lambda: made_with(out), now, args.overwrite, remedy="use --overwrite")
    if is_collected and counts.is_file():
        logging.info("%s is finished", out.name)
        return
    if not is_collected:
        out.unlink(missing_ok=True)
    with whole(counts) as part:
        tile_counts.draw(part, n_tiles)
    if not is_collected:
        with whole(out) as part:
            features_file.write(part, slides, features_file.bags_of(sources), attributes, args.dtype, n_tiles,
                                [features_file.geometry_of(source) for source in sources])
    logging.info("features.h5: %d slides of %d patients, %d tiles, %s, weights %s", len(slides),
                 slides.patient_id.nunique(), n_tiles.sum(), attributes["encoder"], attributes["weights"])


def made_with(path):
    """What decides the contents of a features.h5 that is there."""
    with hdf5.reading(path, features_file.MADE_BY) as file:
        return {"content_sha256": file.attrs.get("content_sha256"), "dtype": str(file["features"].dtype)}


if __name__ == "__main__":
    run(main, arguments(), "collect_features")
