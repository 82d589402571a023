"""Figure 3: abundance of the cell types, predicted against deconvolved, and R in this and in external cohorts."""
import matplotlib.pyplot as plt
import numpy as np

from drawing import captions, marks, style
from drawing.marks import BLUE, GREY, RED
from slide_ex import text_table
from slide_ex.project import predictions_file

MADE_BY = "prediction/collect_results.py"
N_COLUMNS = 5                                  # of scatters
SCATTER_IN, POINT_IN = 1.6, 0.08               # height of a row of scatters, of a cohort's point of a cell type
NAME_LETTERS = 22                              # in a line of a panel's title


def abundance(project, external):
    """A scatter per cell type with R, Spearman's rho and n of abundance.csv, and R of all cohorts.

    external : dict of name to path of projects that this one's models predicted
    """
    trained = project.resolve().name
    paths = {trained: project / "results" / "abundance.csv"}
    paths |= {name: path / "predictions" / trained / "abundance.csv" for name, path in external.items()}
    tables = {name: text_table.read_results(path, MADE_BY).set_index("cell_type")
              for name, path in paths.items() if path.is_file()}
    table = tables[trained].loc[style.by_value(tables[trained]["pearson_r"].fillna(-1))]
    n_rows = -(-len(table) // N_COLUMNS)
    heights_in = 0.3 + SCATTER_IN * n_rows, 0.75 + (0.1 + POINT_IN * len(tables)) * len(table)
    figure = plt.figure(figsize=(style.PAGE_WIDTH_IN, sum(heights_in)))
    top, bottom = figure.subfigures(2, 1, height_ratios=heights_in)
    predicted = predictions_file.read_target(project / "results" / "predictions.h5", "abundance")
    panels = [scatters(top, predicted, table, n_rows), of_cohorts(bottom, tables, table.index)]
    return style.Drawn(figure, "Abundance of the cell types, predicted from slides, out of fold", panels,
                       "The models are linear and their predictions are not clipped. n = " + captions.listed(
                           f"{captions.spread(other['n_patients'])} patients of {name}" for name, other in
                           tables.items()) + ". No test is made in this figure; tables have no interval of these R.")


def scatters(figure, predicted, table, n_rows):
    """Predicted against deconvolved fractions, a panel per cell type; the first axes and what they show."""
    cell_types, n_below, said = predicted.outputs.tolist(), 0, []
    axes = figure.subplots(n_rows, min(N_COLUMNS, len(table)), squeeze=False)
    for axis in axes.flat[len(table):]:
        axis.remove()
    for axis, (cell_type, row) in zip(axes.flat, table.iterrows()):
        column = cell_types.index(cell_type)
        labels, predictions = predicted.labels[:, column], predicted.predictions[:, column]
        axis.scatter(labels, predictions, s=5, linewidths=0, alpha=0.7, color=np.where(predictions < 0, RED, BLUE))
        axis.axline((0, 0), slope=1, color=GREY, linestyle=":", linewidth=0.8)
        axis.axhline(0, color=GREY, linewidth=0.5)
        limits(axis, labels, predictions)
        axis.set_title(f"{style.broken(cell_type, NAME_LETTERS)}\nR = {captions.number(row['pearson_r'])}, "
                       f"ρ = {captions.number(row['spearman_rho'])}")
        axis.locator_params(nbins=4)
        n_below += (predictions < 0).sum()
        said.append(f"{cell_type} R {captions.number(row['pearson_r'])}, ρ {captions.number(row['spearman_rho'])}")
    figure.supxlabel("Deconvolved fraction (red: predicted below 0)")
    figure.supylabel("Predicted fraction")
    return axes[0, 0], ("Predicted against deconvolved fraction of a patient (point); dotted: where they are equal. "
                        f"{n_below:,} of {predicted.predictions.size:,} predictions lie below 0 (red). R: Pearson, "
                        f"ρ: Spearman. {'; '.join(said)}. Cell types are ordered by R.")


def limits(axis, labels, predictions):
    """Axes that hold all points and 0, without what the line of equality would add."""
    for values, setter in ((labels, axis.set_xlim), (predictions, axis.set_ylim)):
        low, high = min(0, np.nanmin(values)), max(0, np.nanmax(values))
        space = 0.05 * (high - low) or 0.05
        setter(low - space, high + space)


def of_cohorts(figure, tables, cell_types):
    """Points of R in each cohort; the axes and what they show."""
    axis, drawn = figure.subplots(), marks.of_cohorts(tables)
    rows = style.name_rows(axis, cell_types)
    r = {name: table[["pearson_r"]].reindex(cell_types).set_axis(["value"], axis=1).assign(low=np.nan, high=np.nan)
         for name, table in tables.items()}
    style.points(axis, rows, r, drawn)
    style.bands(axis, rows)
    axis.axvline(0, color=GREY, linewidth=0.5)
    axis.set(xlabel="Pearson R of predicted and deconvolved fractions")
    if len(tables) > 1:
        figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    said = "; ".join(f"{name}: " + captions.listed(f"{cell_type} {captions.number(value)}" for cell_type, value in
                                                   table["value"].dropna().items()) for name, table in r.items())
    return axis, f"Pearson's R of predicted and deconvolved fractions in each cohort. {said}."
