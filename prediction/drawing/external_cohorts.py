"""Figure 2 beyond the cohort: robustly predicted genes here and in external cohorts, and how far they are the same."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Circle
from scipy.optimize import brentq

from drawing import captions, marks, predictability, style
from slide_ex import text_table

MADE_BY, CORRECTED_P = "prediction/predict_cohort.py", "p_benjamini_hochberg"
ROBUST = f"R > {predictability.ROBUST_R}"
MIN_GENES = 10                  # robust in each cohort, for a diagram; fewer are told in words
MOST_IN_A_ROW = 10              # diagrams
POINT_IN, VENN_IN = 0.1, 1.25   # height of a cohort's point of a cell type, of a row of diagrams
NAME_LETTERS = 14


def external_cohorts(project, external):
    """Number of robust genes of each cell type in each cohort, and a Venn diagram per cell type and external cohort.

    external : dict of name to path of projects that this one's models predicted
    """
    trained = project.resolve().name
    folders = {name: path / "predictions" / trained for name, path in external.items()}
    folders = {name: folder for name, folder in folders.items() if (folder / "overlap.csv").is_file()}
    counts = {name: robust_counts(folder) for name, folder in {trained: project / "results", **folders}.items()}
    robust = pd.DataFrame({name: table["value"] for name, table in counts.items()})
    robust = robust.loc[style.by_value(robust[trained].fillna(-1))]
    shown, without = robust.index[(robust > 0).any(axis=1)], robust.index[~(robust > 0).any(axis=1)]
    overlaps = {name: text_table.read_results(folder / "overlap.csv", MADE_BY, [CORRECTED_P]).set_index(
        "cell_type").reindex(robust.index).dropna(how="all") for name, folder in folders.items()}
    n_rows = {name: -(-enough(table).sum() // MOST_IN_A_ROW) for name, table in overlaps.items()}
    heights_in = [0.8 + (0.1 + POINT_IN * len(counts)) * max(len(shown), 1)]
    heights_in += [0.25 + VENN_IN * rows for rows in n_rows.values() if rows]
    figure = plt.figure(figsize=(style.PAGE_WIDTH_IN, sum(heights_in)))
    parts = iter(figure.subfigures(len(heights_in), 1, height_ratios=heights_in, squeeze=False)[:, 0])
    drawn = marks.of_cohorts(counts)
    panels = [count_points(next(parts), {name: table.reindex(shown) for name, table in counts.items()}, drawn,
                           without)]
    for name, table in overlaps.items():
        if n_rows[name]:
            panels.append(diagrams(next(parts), table, n_rows[name], drawn[trained], drawn[name]))
    return style.Drawn(figure, f"Robustly predicted genes in {trained} and in other cohorts", panels, notes(
        counts, overlaps))


def robust_counts(folder):
    """Number of robust genes by cell type with its interval, of a folder with summary.csv; columns value, low, high."""
    _, model = predictability.read_summary(folder)
    names = dict(zip((predictability.ROBUST_COUNT, *predictability.INTERVAL), ("value", "low", "high")))
    return model.reindex(columns=[*names, "n_patients"]).rename(columns=names)


def enough(table):
    """Which cell types have a diagram."""
    return table[["n_robust_training", "n_robust_here"]].min(axis=1) >= MIN_GENES


def count_points(part, counts, drawn, without):
    """Points with intervals; the panel's axes and what it shows."""
    axis = part.subplots()
    shown = next(iter(counts.values())).index
    rows = style.name_rows(axis, shown)
    style.points(axis, rows, counts, drawn)
    style.bands(axis, rows)
    axis.set(xlabel=f"Genes with {ROBUST}, and 95 % interval", xlim=(0, None))
    part.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    said = "; ".join(f"{name}: " + captions.listed(f"{cell_type} {captions.interval(*row[['value', 'low', 'high']], 0)}"
                                                   for cell_type, row in table.dropna(subset="value").iterrows())
                     for name, table in counts.items())
    nothing = f" No gene in any cohort: {captions.listed(without)}." if len(without) else ""
    return axis, f"Genes with {ROBUST} and 95 % interval (percentiles over resampled patients). {said}.{nothing}"


def diagrams(part, table, n_rows, first, second):
    """Venn diagrams of the cell types with enough genes; the first one's axes and what they show."""
    table = table[enough(table)]
    axes = part.subplots(n_rows, min(MOST_IN_A_ROW, len(table)), squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    said = []
    for axis, (cell_type, counted) in zip(axes, table.iterrows()):
        venn(axis, counted, (first.colour, second.colour))
        axis.set_title(style.broken(cell_type, NAME_LETTERS), fontsize=6, loc="center")
        said.append(f"{cell_type} {counted['n_robust_training']:,.0f}, {counted['n_robust_here']:,.0f} and "
                    f"{counted['n_both']:,.0f} ({tested(counted)})")
    part.suptitle(f"Robust genes of {first.label} (left) and {second.label} (right)")
    return axes[0], (f"Robust genes of {first.label}, of {second.label} and of both, among the genes that are "
                     f"predicted and labelled in both: {'; '.join(said)}. Areas are numbers of genes, each diagram on "
                     "its own scale.")


def tested(counted):
    """The corrected p of an overlap in words; 'not tested' where one cohort has no robust gene."""
    if not counted[["n_robust_training", "n_robust_here"]].all():
        return "not tested"
    return captions.p_value(counted[CORRECTED_P], "q")


def notes(counts, overlaps):
    """How it was tested, and what has no diagram."""
    n = captions.listed(f"{captions.spread(table['n_patients'])} patients in {name}" for name, table in counts.items())
    few = [f"{cell_type} in {name} ({row['n_robust_training']:,.0f} and {row['n_robust_here']:,.0f}, {tested(row)})"
           for name, table in overlaps.items() for cell_type, row in table[~enough(table)].iterrows()]
    return (f"n = {n}. q: one-sided hypergeometric p of an overlap at least as large, corrected by Benjamini and "
            f"Hochberg over the cell types that were tested." + (
                f" Without a diagram, because a cohort has fewer than {MIN_GENES} robust genes: {'; '.join(few)}."
                if few else ""))


def venn(axis, counted, colours):
    """Two circles whose areas and overlap are n_robust_training, n_robust_here, n_both; the numbers in and below."""
    n_first, n_second, n_both = (int(counted[name]) for name in ("n_robust_training", "n_robust_here", "n_both"))
    radii = np.sqrt([n_first, n_second]) / max(np.sqrt(max(n_first, n_second)), 1)
    share = n_both / max(n_first, n_second, 1)  # of the area of the larger circle, pi
    apart = distance(*radii, np.pi * share)
    left = (radii[0] - radii[1] - apart) / 2  # so that both together are in the middle
    centres = np.array([left, left + apart])
    for x, radius, colour in zip(centres, radii, colours):
        axis.add_patch(Circle((x, 0), radius, facecolor=colour, edgecolor="black", alpha=0.5, linewidth=0.6))
    in_both = (max(centres - radii) + min(centres + radii)) / 2  # the middle of what the circles share
    for x, y, words in ((-1.3, -1.45, f"{n_first - n_both:,}"), (in_both, 0, f"{n_both:,}"),
                        (1.3, -1.45, f"{n_second - n_both:,}"), (0, -2.15, tested(counted))):
        axis.text(x, y, words, ha="center", va="center", fontsize=6)
    axis.set(xlim=(-2.05, 2.05), ylim=(-2.5, 1.1), aspect="equal")


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
