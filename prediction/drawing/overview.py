"""Figure 1: the cohort on its way through the pipeline, a slide and its tiles, tiles per slide, genes after filters."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from drawing import captions, marks, style
from slide_ex import text_table
from slide_ex.project import features_file, mask_file, splits_file

N_BINS = 30  # of tiles per slide
NO_FILTER = "median_r_with_fraction"    # a column of target_genes.csv that counts no genes
FLOW_IN, PICTURES_IN, ROW_IN = 0.75, 1.75, 0.2  # heights of the stages, of the slide, of a cell type
LINE_PX = 3                             # of a tile's border, which the green grid colours
STAGE_WIDTH = 0.72                      # of the distance of two stages


def overview(project):
    """What there is at each stage, a slide with its tiles, tiles per slide, and genes per cell type after filters."""
    slide_ids, patient_ids, first_tile, (_, n_features), attributes = features_file.read_index(project / "features.h5")
    n_tiles, n_patients = np.diff(first_tile), len(set(patient_ids))
    steps = [("Slides", f"{len(n_tiles):,} slides", f"{n_patients:,} patients"),
             ("Tissue tiles", f"{n_tiles.sum():,} tiles", f"of {(n_tiles > 0).sum():,} slides"),
             ("Features", f"{n_features:,} a tile", attributes.get("encoder", "several encoders"))]
    steps += models_and_results(project)
    path = project / "deconvolution" / "target_genes.csv"
    filters = (text_table.read_results(path, "deconvolution/prepare_targets.py").set_index("cell_type").drop(
        columns=NO_FILTER, errors="ignore") if path.is_file() else pd.DataFrame())
    shown = slide_shown(project)
    heights_in = [FLOW_IN, *([PICTURES_IN] if shown else []), max(1.9, 0.9 + ROW_IN * len(filters))]
    figure = plt.figure(figsize=(style.PAGE_WIDTH_IN, sum(heights_in)))
    top, *middle, bottom = figure.subfigures(len(heights_in), 1, height_ratios=heights_in)
    panels = [flow(top.add_subplot(), steps)]
    for part in middle:
        panels += slide_and_tiles(part, project, slide_ids[typical(n_tiles)])
    axes = bottom.subplots(1, 2 if len(filters) else 1, squeeze=False)[0]
    panels.append(histogram(axes[0], n_tiles))
    if len(filters):
        panels.append(genes_by_filter(axes[1], filters))
    return style.Drawn(figure, "The cohort on its way through the pipeline", panels, "Numbers are counts: no error "
                       "bars, no test.")


def models_and_results(project):
    """The last steps, of the files that are there: folds from splits.json, predictions from summary.csv."""
    steps = []
    if (project / "splits.json").is_file():
        splits = splits_file.read(project / "splits.json")
        steps.append(("Models", f"{splits['n_outer']} × {splits['n_inner']} folds",
                      f"{len(splits['patients']):,} patients"))
    if (project / "results" / "summary.csv").is_file():
        summary = text_table.read_results(project / "results" / "summary.csv", "prediction/collect_results.py")
        genes = summary[(summary["model"] == "slide-ex") & ~summary["target"].isin(["abundance", "direct"])]
        bulk = ", bulk" if "Bulk" in set(genes["target"]) else ""
        steps.append(("Predictions", captions.counted(len(genes) - bool(bulk), "cell type") + bulk,
                      f"{genes['n_genes'].sum():,.0f} outputs"))
    return steps


def flow(axis, steps):
    """Boxes from left to right with arrows between them; steps: list of (heading, first line, second line)."""
    axis.set_axis_off()
    axis.set(xlim=(-STAGE_WIDTH, len(steps) - 1 + STAGE_WIDTH), ylim=(0, 1))
    for i, (heading, *lines) in enumerate(steps):
        axis.text(i, 0.78, heading, ha="center", va="center", weight="bold")
        axis.text(i, 0.3, "\n".join(lines), ha="center", va="center", fontsize=6)
        axis.add_patch(plt.Rectangle((i - STAGE_WIDTH / 2, 0), STAGE_WIDTH, 1, facecolor="white", linewidth=0.8,
                                     edgecolor=marks.BLUE, clip_on=False))
        if i:
            axis.annotate("", (i - STAGE_WIDTH / 2, 0.5), (i - 1 + STAGE_WIDTH / 2, 0.5),
                          arrowprops={"arrowstyle": "->", "linewidth": 0.8})
    return axis, "Stages, and what there is at each: " + "; ".join(
        f"{heading.lower()}: {', '.join(lines)}" for heading, *lines in steps) + "."


def typical(n_tiles):
    """Row of a slide with the median number of tiles, the first of those that have it, among slides with tiles."""
    rows = np.argsort(np.where(n_tiles > 0, n_tiles, np.iinfo(n_tiles.dtype).max), kind="stable")[:(n_tiles > 0).sum()]
    return rows[(len(rows) - 1) // 2]


def slide_shown(project):
    """The files of the slide that the figure shows: list of its mask page, empty where there is none."""
    slide_ids, _, first_tile, *_ = features_file.read_index(project / "features.h5")
    path = mask_file.path_of(project, slide_ids[typical(np.diff(first_tile))])
    return [path] if path.is_file() else []


def slide_and_tiles(part, project, slide_id):
    """The slide with its grid, its kept, normalised tiles, one tile before and after; panels, what they show."""
    slides = features_file.read_slides(project / "features.h5")
    recorded, coords = features_file.read_geometry(slides.path).loc[slide_id], slides.read_tiles(
        "coords", slides.row_of(slide_id))
    level0_tile_px = recorded["patch_size_level0"]
    n_rows, n_columns = (int(recorded[side] // level0_tile_px) for side in ("level0_height", "level0_width"))
    mosaics = mask_file.read_mosaics(mask_file.path_of(project, slide_id), n_rows, n_columns)
    x, y = (coords[len(coords) // 2] / level0_tile_px).astype(int) * mask_file.THUMBNAIL_PX
    inside = tuple(slice(corner + LINE_PX, corner + mask_file.THUMBNAIL_PX - LINE_PX) for corner in (y, x))
    titles = ("Slide and grid", "Kept tiles, normalised", "A tile, scanned", "The same, normalised")
    axes = part.subplots(1, 4, width_ratios=[1.3, 1.3, 1, 1])
    for axis, picture, title in zip(axes, [*mosaics, *(mosaic[inside] for mosaic in mosaics)], titles):
        axis.imshow(picture, interpolation="nearest", aspect="equal")
        axis.set_title(title, fontsize=6)
        axis.set_axis_off()
        axis.set_anchor("W")
    return [(axes[0], f"Slide {slide_id}, which has the median number of tiles, with the grid of {n_rows} × "
             f"{n_columns} tiles ({level0_tile_px:.0f} pixels of level 0 a side)."),
            (axes[1], f"The {len(coords)} tiles with tissue, after stain normalisation, at 1/16."),
            (axes[2], "One of these tiles as scanned, at 1/16."), (axes[3], "The same tile after normalisation.")]


def histogram(axis, n_tiles):
    """Slides by number of tiles, in bins of whole numbers."""
    width = max(1, -(-(np.ptp(n_tiles) + 1) // N_BINS))
    edges = np.arange(n_tiles.min(), n_tiles.max() + width + 1, width) - 0.5
    axis.hist(n_tiles, edges, color=marks.BLUE, edgecolor="white", linewidth=0.3)
    axis.set(xlabel="Tissue tiles of a slide", ylabel="Slides", title="Tiles per slide")
    axis.locator_params(integer=True, nbins=6)
    return axis, (f"Tissue tiles of the {len(n_tiles):,} slides: {n_tiles.min():,} to {n_tiles.max():,}, median "
                  f"{np.median(n_tiles):,.0f}; a bar is {captions.counted(width, 'number')} wide.")


def genes_by_filter(axis, table):
    """Bars on bars: each filter that removed a gene leaves a part of what the one before it left."""
    order = style.by_value(table.iloc[:, -1])
    table = table.loc[order]
    first, removed = table.columns[0], (table.diff(axis=1) != 0).any()
    kept = [first, *(column for column in table.columns[1:] if removed[column])]
    rows = style.name_rows(axis, order)
    for column, shade in zip(kept, plt.get_cmap("Blues")(np.linspace(0.25, 0.9, len(kept)))):
        axis.barh(rows, table[column], color=shade, label=column[:1].upper() + column[1:])
    for row, n_genes in zip(rows, table.iloc[:, -1]):
        axis.text(1.01, row, f"{n_genes:,}", transform=axis.get_yaxis_transform(), va="center", fontsize=6)
    axis.set(xlabel="Genes (number: after all filters)", title="Genes per cell type after each filter")
    axis.locator_params(axis="x", nbins=5)
    axis.figure.legend(*axis.get_legend_handles_labels(), loc="outside lower right", ncols=len(kept))
    idle = [column for column in table.columns[1:] if not removed[column]]
    return axis, ("Genes of each cell type that are left by each filter in turn; after all: " + captions.listed(
        f"{name} {n:,}" for name, n in table.iloc[:, -1].items()) + "." + (
            f" Filters that removed nothing are not shown: {captions.listed(idle)}." if idle else ""))
