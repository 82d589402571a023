"""The features of all slides in one file, slide after slide, with their patients and per-slide means.

Reads   <project>/metadata.csv, <project>/features/<Slide.ID>.h5 of every slide
Writes  <project>/features.h5         see data/README.md
        <project>/tile_counts.pdf     number of tissue tiles of the slides

    python slide_processing/collect_features.py my_project
"""
import json
import logging

from slide_ex.project import features_file, metadata_file
from slide_ex.script import parser, run, whole
from tiles import slide_status


def arguments():
    p = parser(__doc__)
    p.add_argument("--dtype", default="float32", choices=["float32", "float16"],
                   help="of the features in features.h5; float16 halves the file, default %(default)s")
    p.add_argument("--allow-missing", type=int, default=0, metavar="N",
                   help="go on without up to N slides; results/missing_slides.csv lists them, default %(default)s")
    return p.parse_args()


def main(args):
    slides = metadata_file.read_slides(args.project_path)
    status = slide_status.of_slides(args.project_path, slides)
    for line in slide_status.report(status):
        logging.info(line)
    missing = status[~status.status.isin(["done", "empty"])]
    if len(missing) > args.allow_missing or len(missing) == len(slides):
        names = ", ".join(missing.slide_id)
        raise FileNotFoundError(f"no features of {len(missing)} of {len(slides)} slides, {names}: run "
                                f"1main_processing.py with slide index {metadata_file.format_indexes(missing.index)}")
    slides = slides.drop(missing.index)
    sources = [args.project_path / "features" / f"{slide_id}.h5" for slide_id in slides.slide_id]
    attributes = features_file.shared_attributes(sources, slides)
    if len(missing):
        attributes["missing_slide_ids"] = json.dumps(missing.slide_id.tolist())
    out = args.project_path / "features.h5"
    if out.is_file() and not args.overwrite:
        features_file.check(out, attributes, args.dtype)
        logging.info("%s is finished", out.name)
        return
    with whole(out) as part:
        n_tiles = features_file.write(part, sources, slides, attributes, args.dtype)
    with whole(args.project_path / "tile_counts.pdf") as part:
        features_file.draw_tile_counts(part, n_tiles)
    logging.info("features.h5: %d slides of %d patients, %d tiles, %s, weights %s", len(slides),
                 slides.patient_id.nunique(), n_tiles.sum(), attributes["encoder"], attributes["weights"])


if __name__ == "__main__":
    run(main, arguments(), "collect_features")
