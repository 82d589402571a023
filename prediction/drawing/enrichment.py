"""Figure 5: gene sets over-represented among the robustly predicted genes of each cell type (enrichment.csv)."""
import matplotlib.pyplot as plt
import numpy as np
from scipy.cluster import hierarchy

from drawing import style
from slide_ex import text_table

N_TERMS = 5        # shown of each cell type
LETTERS = 26, 11   # of a longer name, from its beginning and from its end
SIGNIFICANT = 0.05
ROW_IN, SMALLEST_P = 0.115, 1e-300  # height of a term; smaller p are drawn as this one
DENDROGRAM_IN, LABELS_IN, BAR_IN = 0.35, 0.9, 0.6  # heights of the upper dendrogram, cell types, colour bar


def enrichment(project):
    """Bars: p of the first terms of each cell type; heat map, clustered: scaled odds ratios of all these terms."""
    table = text_table.read_results(project / "results" / "enrichment.csv", "prediction/enrich_genes.py")
    first = table.sort_values("p", kind="stable").groupby("cell_type", sort=True).head(N_TERMS)
    first = first.sort_values(["cell_type", "p"], kind="stable", ignore_index=True)
    scaled = table.pivot(index="term", columns="cell_type", values="scaled_odds_ratio").loc[first["term"].unique()]
    heights_in = [DENDROGRAM_IN + LABELS_IN + ROW_IN * len(scaled), BAR_IN,  # rows about as high as the bars
                  ROW_IN * (len(first) - len(scaled) + first["cell_type"].nunique())]
    figure = plt.figure(figsize=(style.PAGE_WIDTH_IN, sum(heights_in)))
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.1])
    term_bars(left, first)
    upper, middle, _ = right.subfigures(3, 1, height_ratios=heights_in)
    image = clustered(upper, scaled, heights_in[0])
    bar, free = middle.subplots(1, 2)
    free.set_axis_off()
    figure.colorbar(image, cax=bar, orientation="horizontal",
                    label="Odds ratio / highest of the gene set\n(grey: not tested)")
    return figure


def shortened(term):
    """A term in words; of a long one the beginning and the end."""
    words = term.replace("_", " ")
    first, last = LETTERS
    return words if len(words) <= first + last + 3 else f"{words[:first]}...{words[-last:]}"


def term_bars(figure, first):
    """-log10 of the corrected p-values, lowest p first, a block per cell type."""
    axis = figure.subplots()
    is_first = first["cell_type"].ne(first["cell_type"].shift())
    rows = -(first.index + is_first.cumsum()).to_numpy()  # a free row above each cell type, for its name
    significant = first["p_benjamini_hochberg"] < SIGNIFICANT
    axis.barh(rows, -np.log10(np.maximum(first["p_benjamini_hochberg"], SMALLEST_P)),
              color=np.where(significant, style.BLUE, style.GREY))
    for row, cell_type in zip(rows[is_first] + 1, first["cell_type"][is_first]):
        axis.text(0, row, f" {cell_type}", va="center", weight="bold", fontsize=6)
    axis.axvline(-np.log10(SIGNIFICANT), color=style.GREY, linestyle=":", zorder=0)
    axis.set(yticks=rows, yticklabels=first["term"].map(shortened), ylim=(rows.min() - 0.6, 0.6),
             xlabel=f"-log10 corrected p (grey: above {SIGNIFICANT})")


def clustered(figure, scaled, height_in):
    """Heat map of terms x cell types in the order of their dendrograms, grey where not tested; returns the image."""
    (corner, above), (beside, heat) = figure.subplots(2, 2, width_ratios=[0.25, 1], height_ratios=[
        DENDROGRAM_IN, height_in - DENDROGRAM_IN])
    values = scaled.fillna(0)  # not tested is taken as not enriched
    rows = leaves(beside, values, "left")
    columns = leaves(above, values.T, "top")
    shown = scaled.iloc[rows, columns]
    colours = plt.get_cmap("viridis").with_extremes(bad=style.GREY)
    image = heat.imshow(shown, aspect="auto", origin="lower", cmap=colours, vmin=0, vmax=1)
    heat.yaxis.tick_right()
    heat.set(yticks=range(len(shown)), yticklabels=shown.index.map(shortened))
    heat.set_xticks(range(shown.shape[1]), shown.columns, rotation=90)
    heat.tick_params(length=0)
    heat.spines[:].set_visible(False)
    corner.set_axis_off()
    return image


def leaves(axis, values, orientation):
    """Draw the dendrogram of the rows of a table (average linkage, Euclidean); the order of its leaves."""
    axis.set_axis_off()
    if len(values) < 2:
        return np.arange(len(values))
    linkage = hierarchy.linkage(values, "average", optimal_ordering=True)
    return hierarchy.dendrogram(linkage, ax=axis, orientation=orientation, no_labels=True,
                                link_color_func=lambda _: "black")["leaves"]
