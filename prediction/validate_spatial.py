"""Compare maps of a slide with expression that was measured in spots on it: Visium or other spatial transcriptomics.

The models are applied to each tile, as in map_slide.py; a spot is compared with the tile that its centre lies in. Per
gene: Pearson R over spots, with an interval from blocks of the slide, beside mean colour, total counts and a smooth of
the measured values as opponents. The same per cell type where the file has fractions.

Reads   what map_slide.py reads, and --spots: .h5ad (X counts, obsm "spatial" in pixels of the slide's full resolution,
        obs columns named like cell types: fractions; needs anndata), or a table of spots with columns x, y and genes
Writes  <project_path>/spatial/<Slide.ID>/genes.csv, cell_types.csv, maps.pdf, maps.png and spatial.json (columns:
        data/README.md)

    python prediction/validate_spatial.py my_project SLIDE --spots adata.h5ad --cell-type Bulk
"""
import itertools
import logging
from pathlib import Path

from slide_ex import script

import numpy as np
import pandas as pd

from maps import choice, slide_tiles, tile_predictions
from slide_ex import checksums, ids, record, text_table
from slide_ex.project import features_file, metadata_file, model_folder, targets_file
from slide_ex.stages import plan
from spatial import comparison, pictures, spots
from transfer import trained_models

MADE_BY = "prediction/validate_spatial.py"
THUMBNAIL_PX = 1000
RECORDED = "min_detected", "block_tiles", "min_inside", "bootstrap", "seed", "draw"


def arguments(argv=None):
    p = script.parser(__doc__)
    p.add_argument("slide_index", help="row of metadata.csv, from 0, or a Slide.ID")
    p.add_argument("--spots", type=Path, required=True, metavar="FILE", help=f"{spots.WHAT}")
    p.add_argument("--cell-type", nargs="+", help="whose predicted expression; default all that models are there for")
    p.add_argument("--models", type=Path,
                   help="for a cohort that was not trained on: folder of another trained project, or of a bundle")
    trained_models.add_arguments(p)
    p.add_argument("--min-detected", type=float, default=0.05, metavar="SHARE",
                   help="genes that are above their lowest value in fewer spots are left out, default %(default)s")
    p.add_argument("--block-tiles", type=int, default=6, metavar="N",
                   help="side of the blocks that intervals resample, in tiles; default %(default)s")
    p.add_argument("--min-inside", type=float, default=spots.MIN_INSIDE, metavar="SHARE",
                   help="refuse spots of which fewer lie in tiles of the slide, default %(default)s")
    p.add_argument("--draw", type=int, default=3, metavar="N", help="maps of the best N genes of each type, default 3")
    p.add_argument("--bootstrap", type=int, default=1000, help="resamplings for intervals, default %(default)s")
    p.add_argument("--seed", type=int, default=42, help="of the bootstrap, default %(default)s")
    return p.parse_args(argv)


def main(args):
    project = args.project_path
    for name in ("block_tiles", "bootstrap", "draw"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(args, name)}: give at least 1")
    slide, slides, row = slide_of(project, args.slide_index)
    targets = read_targets(args, slides, slides.patient_ids[row])
    layout = slide_tiles.read_layout(project, slides, row)
    predicted = {output for target, *_ in targets.values() for output in target.outputs}
    cell_types = targets["abundance"][0].outputs if "abundance" in targets else ()
    measured, tile = spots.in_tiles(spots.read(args.spots, predicted, cell_types), layout.coords,
                                    layout.level0_tile_px, args.min_inside)
    marker = plan.outputs(project, "spatial truth", slide_id=slide.slide_id)[-1]
    now = settings_of(args, slides, row, targets)
    if record.is_finished_folder(marker, MADE_BY, now, args.overwrite):
        logging.info(f"{slide.slide_id}: finished ({marker.parent})")
        return
    tables, pairs = compared(args, slides, row, targets, layout, measured, tile)
    picture = slide_tiles.picture_of(project, slide, layout, THUMBNAIL_PX)
    figure = pictures.draw(pairs, measured.place, layout, picture, f"{slide.slide_id}: {args.spots.name}")
    with script.whole(marker.parent) as part:
        part.mkdir()
        for name, table in tables.items():
            text_table.write_results(table, part / name)
        figure.savefig(part / "maps.png", dpi=200)
        figure.savefig(part / "maps.pdf", metadata={"CreationDate": None})
        made = sorted(part.iterdir())
        record.write(part / marker.name, now | {"files": [path.name for path in made]}, made)
    for line in itertools.chain.from_iterable(map(summary, tables.values())):
        logging.info(line)


def slide_of(project, slide_index):
    """The slide's row of metadata.csv, all slides of features.h5, and its row there."""
    metadata = metadata_file.read(project)
    chosen = ids.parse_indexes(slide_index, metadata.slide_id)
    if len(chosen) != 1:
        raise ValueError(f"slide index {slide_index} means {len(chosen)} slides: give one")
    slides = features_file.read_slides(project / features_file.NAME)
    return metadata.loc[chosen[0]], slides, slides.row_of(metadata.slide_id[chosen[0]])


def read_targets(args, slides, patient_id):
    """Models by target, as tile_predictions gives them; of the project itself those that never saw the patient."""
    project = args.project_path
    if args.models:
        found = tile_predictions.read_others(args.models, (), slides, args.use)
    else:
        known = [*targets_file.read_cell_types(project / targets_file.NAME), "abundance"]
        trained = [name for name in known if any(
            model_folder.of_target(project / "results", model, name).is_dir() for model in model_folder.MODELS)]
        found = tile_predictions.read_own(project, trained, slides, patient_id, args.use) if trained else {}
    wanted = [ids.cell_type(name, found) for name in args.cell_type or found]
    absent = [name for name in wanted if name not in found]
    if absent or not wanted:
        raise ValueError(f"no models of {', '.join(absent) or 'any cell type'}: there are {', '.join(found) or 'none'}")
    return {name: models for name, models in found.items() if name in (*wanted, "abundance") and name != "direct"}


def compared(args, slides, row, targets, layout, measured, tile):
    """Tables by name of their file, and what is drawn: the best outputs (name, measured, values of tiles, R)."""
    features = slides.read_tiles("features", row).astype(np.float32)
    colours = slide_tiles.read_colours(args.project_path, slides, row)
    blocks = comparison.blocks_of(measured.place, args.block_tiles * layout.level0_tile_px)
    if blocks.max() + 1 < comparison.MIN_BLOCKS:
        logging.warning(f"{blocks.max() + 1} blocks of {args.block_tiles} x {args.block_tiles} tiles: too few for "
                        "intervals; give a smaller --block-tiles")
    bootstrap, tables, pairs = (args.bootstrap, args.seed), {}, []
    for file_name, truth in (("genes.csv", detected(measured.expression, args.min_detected)),
                             ("cell_types.csv", measured.fractions)):
        opponents = comparison.of_opponents(
            measured, truth.to_numpy(float), tile, None if colours is None else colours[tile].astype(float),
            layout.level0_tile_px, blocks, *bootstrap) if truth.shape[1] else {}
        for name, (target, folds, _) in targets.items():
            outputs = [output for output in target.outputs if output in truth]
            if (name == "abundance") != (file_name == "cell_types.csv") or not outputs:
                continue
            of_tiles = tile_predictions.predict(features, target, folds, [
                choice.Wanted(name, output, (output,), "") for output in outputs], colours).astype(float)
            values, columns = truth[outputs].to_numpy(float), truth.columns.get_indexer(outputs)
            table = comparison.table(outputs, of_tiles[tile], values, tile, blocks, {
                other: (r[columns], drawn[:, columns]) for other, (r, drawn) in opponents.items()}, *bootstrap)
            tables.setdefault(file_name, []).append(table.assign(target=name))
            best = table["pearson_r"].fillna(-1).sort_values(ascending=False).index[:args.draw]
            pairs += [(f"{name} {outputs[i]}", values[:, i], of_tiles[:, i], table["pearson_r"][i]) for i in best]
    if not pairs:
        raise ValueError(f"nothing that is predicted was measured in {args.spots}: genes are named by symbols, "
                         "fractions by the cell types of the models")
    return {name: pd.concat(of_file).set_index("target").reset_index() for name, of_file in tables.items()}, pairs


def detected(expression, min_share):
    """Genes (columns) that are above their lowest value in enough spots."""
    share = (expression > expression.min()).mean()
    few = share < min_share
    if few.any():
        logging.info(f"genes that are hardly detected, left out: {few.sum()} of {len(few)}")
    return expression.loc[:, ~few]


def summary(table):
    """A line a target: R of the map beside that of the opponents, medians over its outputs."""
    for name, rows in table.groupby("target", sort=False):
        known = {other: rows[f"r_{other}"].dropna() for other in comparison.OPPONENTS}  # pandas 2 warns where none is
        opponents = ", ".join(f"{other} {r.median():.2f}" for other, r in known.items())
        above = f"{(rows.pearson_r_low > 0).sum()} of {len(rows)} with an interval above 0"
        yield f"{name}: median R {rows.pearson_r.dropna().median():.2f} over spots, {above}; opponents: {opponents}"


def settings_of(args, slides, row, targets):
    """Everything that changes the result."""
    models = {name: checksums.of_content(*(np.asarray(values) for state in target.states(folds)
                                           for values in state.values()))
              for name, (target, folds, _) in targets.items()}
    return record.plain({"slide_id": str(slides.slide_ids[row]), "spots": args.spots.name,
                         "spots_sha256": checksums.of_file(args.spots), "features_sha256": slides.sha256,
                         "models_sha256": models} | {name: getattr(args, name) for name in RECORDED})


if __name__ == "__main__":
    script.run(main, arguments(), "validate_spatial")
