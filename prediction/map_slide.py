"""Draw where in a slide a gene, a cell type or a program is predicted: the models applied to each tile.

Tile values are not validated measurements: what was trained and tested is their mean over the slide. A slide is judged
by the models that never saw its patient, or by --models. A program is the mean of the predictions of its genes.

Reads   <project_path>/metadata.csv, features.h5, features/<Slide.ID>.h5 (size of the tiles), slides/<Filename> (the
        picture; without it maps are drawn on white), and splits.json, targets.h5, results/, or --models
Writes  <project_path>/maps/<Slide.ID>/<name>.png, .pdf, .csv, .geojson (QuPath), .h5ad (squidpy; needs anndata) and
        .json (what was drawn, from what)

    python prediction/map_slide.py demo 0 --cell-type CAFs --gene COL1A1 --abundance CAFs
"""
import logging
from pathlib import Path

from slide_ex import script

import numpy as np

from maps import choice, exports, slide_tiles, tile_predictions
from maps.slide_map import SlideMaps
from slide_ex.ids import parse_indexes
from slide_ex.project import features_file, metadata_file
from transfer import trained_models

THUMBNAIL_PX = 2000  # longer side of the picture below the maps


def arguments(argv=None):
    p = script.parser(__doc__)
    p.add_argument("slide_index", help="row of metadata.csv, from 0, or a Slide.ID")
    choice.add_arguments(p)
    p.add_argument("--models", type=Path,
                   help="for a cohort that was not trained on: folder of another trained project, or of a bundle")
    trained_models.add_arguments(p)
    p.add_argument("--out", type=Path, metavar="FOLDER", help="write the files here; default maps/<Slide.ID>")
    return p.parse_args(argv)


def main(args):
    project = args.project_path
    metadata = metadata_file.read(project)
    chosen = parse_indexes(args.slide_index, metadata.slide_id)
    if len(chosen) != 1:
        raise ValueError(f"slide index {args.slide_index} means {len(chosen)} slides: give one")
    slide = metadata.loc[chosen[0]]
    slides = features_file.read_slides(project / "features.h5")
    row = slides.row_of(slide.slide_id)
    names, patient_id = choice.target_names(args), slides.patient_ids[row]
    targets = (tile_predictions.read_others(args.models, names, slides, args.use) if args.models else
               tile_predictions.read_own(project, names, slides, patient_id, args.use))
    wanted = choice.wanted_maps(args, {name: target.outputs for name, (target, *_) in targets.items()},
                                tile_predictions.unit(args.models or project))
    features = slides.read_tiles("features", row).astype(np.float32)
    colours = slide_tiles.read_colours(project, slides, row)
    layout = slide_tiles.read_layout(project, slides, row)
    maps = []
    for name, (target, folds, _) in targets.items():
        of_target = [one for one in wanted if one.target == name]
        maps += zip(of_target, tile_predictions.predict(features, target, folds, of_target, colours).T)
    picture = slide_tiles.picture_of(project, slide, layout, THUMBNAIL_PX)
    if picture is None:
        logging.info(f"{slide.slide_id}: slides/{slide.filename} is not there, so maps are drawn on white")
    models = "; ".join(f"{name}: {words}" for name, (*_, words) in targets.items())
    drawn = SlideMaps(slide.slide_id, patient_id, layout, picture, maps, models, args.limits)
    exports.write_all(args.out or project / "maps" / drawn.slide_id, choice.file_name(wanted, args.name), drawn,
                          args.overwrite)


if __name__ == "__main__":
    script.run(main, arguments(), "map_slide")
