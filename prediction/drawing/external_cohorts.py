"""Figure 2 beyond the cohort: robustly predicted genes here and in external cohorts, and how far they are the same."""
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Circle
from scipy.optimize import brentq

from drawing import predictability, style
from drawing.style import BLUE, COHORT_COLOURS
from slide_ex import text_table

ROBUST_COLUMN = f"n_r_above_{predictability.ROBUST_R:.2f}"
BARS_IN, VENN_IN = 0.09, 1.25  # height of the bars of a cell type and cohort, of a row of Venn diagrams


def external_cohorts(project, external):
    """Number of robust genes of each cell type in each cohort, and a Venn diagram per cell type and external cohort.

    external : dict of name to path of projects that this one's models predicted
    """
    trained = project.resolve().name
    _, model = predictability.read_summary(project / "results")
    folders = {name: path / "predictions" / trained for name, path in external.items()}
    folders = {name: folder for name, folder in folders.items() if (folder / "overlap.csv").is_file()}
    counts = {trained: model[ROBUST_COLUMN]}
    for name, folder in folders.items():
        _, there = predictability.read_summary(folder)
        counts[name] = there[ROBUST_COLUMN].reindex(model.index)
    heights_in = [0.75 + (0.07 + BARS_IN * len(counts)) * len(model)] + [VENN_IN] * len(folders)
    figure = plt.figure(figsize=(style.PAGE_WIDTH_IN, sum(heights_in)))
    top, *below = figure.subfigures(len(heights_in), 1, height_ratios=heights_in, squeeze=False)[:, 0]
    axis, rows = top.subplots(), np.arange(len(model))[::-1]
    style.grouped_bars(axis, rows, counts)
    axis.set(yticks=rows, yticklabels=model.index, xlabel=f"Genes with R > {predictability.ROBUST_R}",
             ylim=(-0.6, len(model) - 0.4))
    top.legend(*axis.get_legend_handles_labels(), loc="outside upper left", ncols=len(counts))
    for row, colour, (name, folder) in zip(below, COHORT_COLOURS[1:], folders.items()):
        overlap = text_table.read_results(folder / "overlap.csv", "prediction/predict_cohort.py").set_index("cell_type")
        for axis, (cell_type, counted) in zip(row.subplots(1, len(overlap), squeeze=False)[0], overlap.iterrows()):
            venn(axis, counted, (BLUE, colour))
            axis.set_title(cell_type.replace(" ", "\n"), fontsize=6, y=1)
        row.suptitle(f"Robust genes, of those in both {trained} and {name} (area: number of genes, "
                     "each diagram on its own scale)")
    return figure


def venn(axis, counted, colours):
    """Two circles whose areas and overlap are n_robust_training, n_robust_here, n_both; the numbers in and below."""
    n_first, n_second, n_both = (int(counted[name]) for name in ("n_robust_training", "n_robust_here", "n_both"))
    radii = np.sqrt([n_first, n_second]) / max(np.sqrt(max(n_first, n_second)), 1)
    share = n_both / max(n_first, n_second, 1)  # of the area of the larger circle, pi
    apart = distance(*radii, np.pi * share)
    left = (radii[0] - radii[1] - apart) / 2  # so that both together are in the middle
    centres = np.array([left, left + apart])
    for x, radius, colour in zip(centres, radii, colours):
        axis.add_patch(Circle((x, 0), radius, color=colour, alpha=0.5, linewidth=0))
    in_both = (max(centres - radii) + min(centres + radii)) / 2  # the middle of what the circles share
    for x, y, words, colour in ((-1.1, -1.45, f"{n_first - n_both:,}", colours[0]),
                                (in_both, 0, f"{n_both:,}", "black"),
                                (1.1, -1.45, f"{n_second - n_both:,}", colours[1]),
                                (0, -2.15, f"p {counted['p_hypergeometric']:.1g}", "black")):
        axis.text(x, y, words, color=colour, ha="center", va="center", fontsize=6)
    axis.set(xlim=(-2.05, 2.05), ylim=(-2.5, 1.1), aspect="equal")
    axis.set_axis_off()


def distance(first, second, area):
    """Distance of the centres of two circles of these radii that share `area`."""
    nearest, furthest = abs(first - second), first + second
    if area <= 0 or nearest == furthest:
        return furthest
    if area >= lens(first, second, nearest):
        return nearest
    return brentq(lambda d: lens(first, second, d) - area, nearest, furthest)


def lens(first, second, d):
    """Area that two circles share whose centres are `d` apart, |first - second| <= d <= first + second."""
    if d <= abs(first - second):
        return np.pi * min(first, second) ** 2
    parts = 0
    for radius, other in ((first, second), (second, first)):
        to_chord = (d * d + radius * radius - other * other) / (2 * d)
        half_angle = np.arccos(np.clip(to_chord / radius, -1, 1))
        parts += radius * radius * (half_angle - np.sin(half_angle) * np.cos(half_angle))
    return parts
