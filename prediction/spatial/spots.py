"""Spots on a slide with measured expression: AnnData of Visium and the like, or a table; and the tiles they lie in."""
import logging
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slide_ex import text_table
from slide_ex.ids import counted, some

PLACE = ["x", "y"]          # columns of a table: centre of a spot, level-0 pixels
NO_GENES = re.compile(  # columns of Space Ranger, scanpy and Seurat that describe spots, in tables of spots
    r"in_tissue|array_(row|col)|pxl_(row|col)_in_fullres|image(row|col)|(log1p_)?(n|total)_counts(_\w+)?|"
    r"(log1p_)?n_genes(_by_counts)?|pct_counts_\w+|n(Count|Feature)_\w+|percent[._]mt|(seurat_)?clusters?|leiden|"
    r"louvain")
PER_SPOT = 1e4              # counts of a spot are scaled to this total
MIN_INSIDE = 0.5            # share of the spots that lie in tiles; below it they are probably those of another image
MIN_SPOTS = 10
EXCHANGED = 0.1             # by how much of the spots more have to lie in tiles with x and y exchanged, to be told
MAX_SPOTS = 20_000          # of which all pairs fit into memory
WHAT = "an .h5ad, or a table with columns x, y (centres, level-0 pixels) and one column a gene"


@dataclass(frozen=True)
class Spots:
    """Rows belong together."""
    place: np.ndarray           # float64 (n_spots, 2), centres, x and y in level-0 pixels
    expression: pd.DataFrame    # float64, spots x genes: log2(counts per 10,000 + 1), or as given where it is no counts
    fractions: pd.DataFrame     # float64, spots x cell types
    log_total: np.ndarray       # log2(total counts + 1), NaN where the file holds no counts

    def of(self, rows):
        """Some of the spots."""
        return Spots(self.place[rows], self.expression.iloc[rows], self.fractions.iloc[rows], self.log_total[rows])


def read(path, genes, cell_types):
    """Spots of a file.

    Parameters
    ----------
    genes, cell_types : names that are predicted; other genes count in the totals of spots alone, and columns of obs (of
        a table: columns) that are named like cell types are fractions
    """
    reader = read_anndata if path.suffix == ".h5ad" else read_table
    place, values, fractions = reader(path, cell_types)
    if not all(np.isfinite(part).all() for part in (place, values.to_numpy(), fractions.to_numpy())):
        raise ValueError(f"{path} has places, values or fractions that are not finite: take those spots out")
    if len(place) > MAX_SPOTS:
        raise ValueError(f"{path} has {len(place):,} spots, more than {MAX_SPOTS:,}: add up bins or cells to spots of "
                         "about 50 um; a tile is 256 um wide")
    repeated = values.columns[values.columns.duplicated()]
    if len(repeated):
        logging.info(f"genes that occur twice, left out: {counted(sorted(set(repeated)))}")
    whole = values.to_numpy()
    is_counts = whole.shape[1] > 0 and (whole >= 0).all() and (whole == whole.round()).all()
    total = whole.sum(axis=1)
    kept = values.loc[:, ~values.columns.isin(repeated) & values.columns.isin(genes)]
    if kept.shape[1] == 0 and fractions.shape[1] == 0:
        raise ValueError(f"{path}: none of its columns ({some(values.columns, 4)}) is a gene that is predicted: genes "
                         "are named by symbols")
    if is_counts:
        empty = total == 0
        if empty.any():
            logging.info(f"spots without counts, left out: {empty.sum()}")
        kept = np.log2(kept[~empty].mul(PER_SPOT / total[~empty], axis=0) + 1)
        return Spots(place[~empty], kept, fractions[~empty], np.log2(total[~empty] + 1))
    logging.info(f"{path.name} holds no counts: its values are taken as they are, and total counts are no opponent")
    return Spots(place, kept, fractions, np.full(len(place), np.nan))


def read_anndata(path, cell_types):
    """Places (obsm "spatial"), X (spots x genes) and fractions (obs) of an .h5ad; spots outside tissue are left out."""
    try:
        import anndata
    except ImportError:
        raise ValueError(f"reading {path.name} needs anndata: pip install -r "
                         "prediction/requirements-maps.txt") from None
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give {WHAT}")
    try:
        data = anndata.read_h5ad(path)
    except Exception as error:  # anndata reports damaged files in many ways
        raise ValueError(f"{path} cannot be read ({' '.join(str(error).split())[:200]}): give {WHAT}") from None
    if "spatial" not in data.obsm or data.obsm["spatial"].ndim != 2 or data.obsm["spatial"].shape[1] < 2:
        raise ValueError(f"{path} has no obsm['spatial'] (centres of spots, full-resolution pixels); obsm has "
                         f"{some(data.obsm) or 'nothing'}")
    if len(libraries := data.uns.get("spatial", {})) > 1:
        raise ValueError(f"{path} holds spots of {len(libraries)} slides ({some(libraries, 3)}): write those of this "
                         "slide into a file of their own")
    if "in_tissue" in data.obs:
        data = data[on_tissue(data.obs["in_tissue"])]
    values = data.X.toarray() if hasattr(data.X, "toarray") else np.asarray(data.X)
    named = [name for name in cell_types if name in data.obs]
    try:
        fractions = data.obs[named].astype(float)
    except (ValueError, TypeError):
        raise ValueError(f"{path}: columns of obs named like cell types ({some(named)}) are fractions, and not all of "
                         "these are numbers: rename what is something else") from None
    return (np.asarray(data.obsm["spatial"], float)[:, :2],
            pd.DataFrame(np.asarray(values, float), columns=data.var_names.astype(str)),
            fractions.reset_index(drop=True))


def on_tissue(in_tissue):
    """Which spots lie in tissue, bool (n_spots,), by a column of 0 and 1."""
    found = in_tissue.astype(float).to_numpy() > 0
    logging.info(f"spots that do not lie in tissue, left out: {(~found).sum()} of {len(found)}")
    return found


def read_table(path, cell_types):
    """The same of a table; columns that describe spots count in no total."""
    table = text_table.read_strings(path, WHAT)
    absent = [name for name in PLACE if name not in table]
    if absent:
        raise ValueError(f"{path} has no column {' and '.join(absent)}: give {WHAT}; its columns are {some(table, 6)}")
    numbers = table.apply(pd.to_numeric, errors="coerce")
    numbers = numbers[[name for name in numbers if name in PLACE or numbers[name].notna().any()]]   # without barcodes
    if "in_tissue" in numbers:
        numbers = numbers[on_tissue(numbers["in_tissue"])].reset_index(drop=True)
    describing = [name for name in numbers if NO_GENES.fullmatch(name)]
    if describing:
        logging.info(f"columns that are no genes, left out: {counted(describing, 6)}")
        numbers = numbers.drop(columns=describing)
    wrong = [name for name in numbers if numbers[name].isna().any()]
    if wrong:
        raise ValueError(f"{path} has cells that are no numbers in {counted(wrong)}: fill them")
    fractions = numbers[[name for name in cell_types if name in numbers]]
    return (numbers[PLACE].to_numpy(float), numbers.drop(columns=[*PLACE, *fractions]).astype(float),
            fractions.astype(float))


def tiles_of(place, coords, level0_tile_px):
    """The tile that each spot's centre lies in, int (n_spots,), -1 in none; coords: int (n_tiles, 2), corners."""
    number = {tuple(corner): i for i, corner in enumerate((coords // level0_tile_px).tolist())}
    if len(number) < len(coords) or (coords % level0_tile_px).any():     # overlapping, or not on the grid of level 0
        inside = ((place[:, None] >= coords) & (place[:, None] < coords + level0_tile_px)).all(axis=2)
        return np.where(inside.any(1), inside.argmax(1), -1)
    cells = np.floor(place / level0_tile_px).astype(int).tolist()
    return np.array([number.get(tuple(cell), -1) for cell in cells], int)


def in_tiles(spots, coords, level0_tile_px, min_inside=MIN_INSIDE):
    """Spots that lie in an analysed tile, and its number; ValueError where so few do that they are of another image."""
    tile = tiles_of(spots.place, coords, level0_tile_px)
    inside = tile >= 0
    exchanged = (tiles_of(spots.place[:, ::-1], coords, level0_tile_px) >= 0).mean()
    hint = ""
    if exchanged > inside.mean() + EXCHANGED:
        hint = f"; with x and y exchanged {exchanged:.0%} would: are they in the right order?"
    if inside.sum() < MIN_SPOTS or inside.mean() < min_inside:
        spot_from, spot_to = spots.place.min(0), spots.place.max(0)
        tile_from, tile_to = coords.min(0), coords.max(0) + level0_tile_px
        raise ValueError(f"{inside.sum()} of {len(tile)} spots lie in tiles of the slide: spots reach from "
                         f"({spot_from[0]:.0f}, {spot_from[1]:.0f}) to ({spot_to[0]:.0f}, {spot_to[1]:.0f}), tiles "
                         f"from ({tile_from[0]}, {tile_from[1]}) to ({tile_to[0]}, {tile_to[1]}): give pixels "
                         f"of the slide's full resolution, or accept a smaller share with --min-inside{hint}")
    logging.log(logging.WARNING if hint else logging.INFO,
                f"{inside.sum()} of {len(tile)} spots lie in {len(set(tile[inside]))} tiles{hint}")
    return spots.of(np.flatnonzero(inside)), tile[inside]
