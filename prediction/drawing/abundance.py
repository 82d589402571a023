"""Figure 3: abundance of the cell types, predicted against deconvolved, and R in this and in external cohorts."""
import matplotlib.pyplot as plt
import numpy as np

from drawing import style
from slide_ex import text_table
from slide_ex.project import predictions_file

MADE_BY = "prediction/collect_results.py"
N_COLUMNS = 5  # of scatters


def abundance(project, external):
    """A scatter per cell type with R, Spearman's rho and n of abundance.csv, and the bars of R of all cohorts.

    external : dict of name to path of projects that this one's models predicted
    """
    trained = project.resolve().name
    paths = {trained: project / "results" / "abundance.csv"}
    paths |= {name: path / "predictions" / trained / "abundance.csv" for name, path in external.items()}
    tables = {name: text_table.read_results(path, MADE_BY).set_index("cell_type")
              for name, path in paths.items() if path.is_file()}
    table = tables[trained]
    n_rows = -(-len(table) // N_COLUMNS)
    heights_in = 0.3 + 1.55 * n_rows, 0.75 + (0.07 + 0.07 * len(tables)) * len(table)
    figure = plt.figure(figsize=(style.PAGE_WIDTH_IN, sum(heights_in)))
    top, bottom = figure.subfigures(2, 1, height_ratios=heights_in)
    scatters(top, predictions_file.read_target(project / "results" / "predictions.h5", "abundance"), table, n_rows)
    rows = np.arange(len(table))[::-1]
    axis = bottom.subplots()
    style.grouped_bars(axis, rows, {name: other["pearson_r"].reindex(table.index) for name, other in tables.items()})
    axis.axvline(0, color=style.GREY, linewidth=0.5)
    axis.set(yticks=rows, yticklabels=table.index, ylim=(-0.6, len(table) - 0.4),
             xlabel="Pearson R of predicted and deconvolved fractions")
    if len(tables) > 1:
        bottom.legend(*axis.get_legend_handles_labels(), loc="outside upper left", ncols=len(tables))
    return figure


def scatters(figure, predicted, table, n_rows):
    """Predicted against deconvolved fractions, a panel per cell type; predicted: predictions_file.Predicted."""
    cell_types = predicted.outputs.tolist()
    labels, predictions = predicted.labels, predicted.predictions
    axes = figure.subplots(n_rows, min(N_COLUMNS, len(table)), squeeze=False)
    for axis in axes.flat[len(table):]:
        axis.remove()
    for axis, (cell_type, row) in zip(axes.flat, table.iterrows()):
        column = cell_types.index(cell_type)
        axis.scatter(labels[:, column], predictions[:, column], s=5, color=style.BLUE, alpha=0.6, linewidths=0)
        on_diagonal = np.nanmean(labels[:, column])  # inside the data, so that the line does not widen the axes
        axis.axline((on_diagonal, on_diagonal), slope=1, color=style.GREY, linestyle=":")
        axis.set_title(f"{cell_type}\nR {row['pearson_r']:.2f}, rho {row['spearman_rho']:.2f}, "
                       f"n {row['n_patients']:.0f}")
        axis.locator_params(nbins=4)
    figure.supxlabel("Deconvolved fraction")
    figure.supylabel("Predicted fraction")
