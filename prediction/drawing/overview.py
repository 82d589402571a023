"""Figure 1: the cohort on its way through the pipeline, tiles per slide, genes left by each filter."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from drawing import style
from slide_ex import text_table
from slide_ex.project import features_file, splits_file

N_BINS = 30  # of tiles per slide
NO_FILTER = "median_r_with_fraction"    # a column of target_genes.csv that counts no genes


def overview(project):
    """What there is at each stage, the histogram of tiles per slide, and the genes per cell type after each filter."""
    _, patient_ids, first_tile, (_, n_features), attributes = features_file.read_index(project / "features.h5")
    n_tiles, n_patients = np.diff(first_tile), len(set(patient_ids))
    encoder = attributes.get("encoder", "several encoders")
    steps = [("Slides", f"{len(n_tiles):,} slides", f"{n_patients:,} patients"),
             ("Tissue tiles", f"{n_tiles.sum():,} tiles", f"of {(n_tiles > 0).sum():,} slides"),
             ("Features", f"{n_features:,} a tile", encoder)] + models_and_results(project)
    path = project / "deconvolution" / "target_genes.csv"
    filters = (text_table.read_results(path, "deconvolution/prepare_targets.py").set_index("cell_type").drop(
        columns=NO_FILTER, errors="ignore") if path.is_file() else pd.DataFrame())
    figure = plt.figure(figsize=(style.PAGE_WIDTH_IN, max(2.6, 1.6 + 0.2 * len(filters))))
    top, bottom = figure.subfigures(2, 1, height_ratios=[0.75, figure.get_figheight() - 0.75])
    flow(top.add_subplot(), steps)
    axes = bottom.subplots(1, 2 if len(filters) else 1, squeeze=False)[0]
    bins = min(N_BINS, np.ptp(n_tiles) + 1)  # no more than there are different numbers
    axes[0].hist(n_tiles, bins, color=style.BLUE, edgecolor="white", linewidth=0.3)
    axes[0].set(xlabel="Tissue tiles of a slide", ylabel="Slides", title="Tiles per slide")
    if len(filters):
        genes_by_filter(axes[1], filters)
    return figure


def models_and_results(project):
    """The last steps, of the files that are there: folds from splits.json, predictions from summary.csv."""
    steps = []
    if (project / "splits.json").is_file():
        splits = splits_file.read(project / "splits.json")
        steps.append(("Models", f"{splits['n_outer']} x {splits['n_inner']} folds",
                      f"{len(splits['patients']):,} patients"))
    if (project / "results" / "summary.csv").is_file():
        summary = text_table.read_results(project / "results" / "summary.csv", "prediction/collect_results.py")
        genes = summary[(summary["model"] == "slide-ex") & ~summary["target"].isin(["abundance", "direct"])]
        steps.append(("Predictions", f"{len(genes)} cell types", f"{genes['n_genes'].sum():,.0f} outputs"))
    return steps


def flow(axis, steps):
    """Boxes from left to right with arrows between them; steps: list of (heading, first line, second line)."""
    axis.set_axis_off()
    axis.set(xlim=(-0.45, len(steps) - 0.55), ylim=(0, 1))
    for i, (heading, *lines) in enumerate(steps):
        axis.text(i, 0.5, "\n".join([f"$\\bf{{{heading.replace(' ', '~')}}}$", *lines]), ha="center", va="center",
                  bbox={"boxstyle": "round,pad=0.6", "facecolor": "white", "edgecolor": style.BLUE})
        if i:
            axis.annotate("", (i - 0.36, 0.5), (i - 0.64, 0.5), arrowprops={"arrowstyle": "->"})


def genes_by_filter(axis, table):
    """Bars on bars: each filter leaves a part of what the one before it left; columns of target_genes.csv."""
    rows = np.arange(len(table))[::-1]
    for column, shade in zip(table, plt.get_cmap("Blues")(np.linspace(0.2, 1, table.shape[1]))):
        axis.barh(rows, table[column], color=shade, label=column)
    for row, n_genes in zip(rows, table.iloc[:, -1]):
        axis.text(1, row, f"  {n_genes:,}", transform=axis.get_yaxis_transform(), va="center", fontsize=6)
    axis.set(yticks=rows, yticklabels=table.index, xlabel="Genes",
             title="Genes per cell type after each filter (number: after all)")
    axis.locator_params(axis="x", nbins=5)
    axis.figure.legend(*axis.get_legend_handles_labels(), loc="outside lower right", ncols=table.shape[1])
