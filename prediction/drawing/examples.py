"""Figure 2, examples: prediction against label of two genes of each cell type."""
import numpy as np
from matplotlib.ticker import MaxNLocator

from drawing import captions, predictability, style
from drawing.marks import BLUE, GREY
from slide_ex.project import predictions_file

N_COLUMNS = 6
NAME_LETTERS = 20  # in a line of a panel's title


def examples(project):
    """The gene with the highest R of each cell type, and the one in the middle of its robust genes if it is another."""
    results = project / "results"
    _, model = predictability.read_summary(results)
    chosen = [(target, *row) for target in style.by_value(model["median_r"])
              for row in genes_of(predictability.read_genes(results, target))]
    figure, axes = style.small_multiples(len(chosen), N_COLUMNS, 1.45)
    predicted = {}
    for axis, (target, why, row) in zip(axes, chosen):
        if target not in predicted:  # one at a time: they are as large as the labels
            predicted = {target: predictions_file.read_target(results / "predictions.h5", target)}
        example(axis, predicted[target], row.name)
        axis.set_title(f"{style.broken(target, NAME_LETTERS)}\n{row.name}\nR = "
                       f"{captions.number(row['pearson_r'])} ({why})", fontsize=6)
    figure.supxlabel("Deconvolved expression (label), logarithm")
    figure.supylabel("Predicted expression, out of fold")
    said = "; ".join(f"{target}: {row.name} ({why}) R {captions.number(row['pearson_r'])}"
                     for target, why, row in chosen)
    words = ("Predicted against deconvolved expression of a patient (point), both in the unit of the labels and on "
             "the same scale; dotted: where they are equal. Of each cell type the gene with the highest R (best), and "
             f"the gene in the middle of those with R > {predictability.ROBUST_R} (middle) where that is another. "
             f"The best gene of many looks better than it is. {said}.")
    return style.Drawn(figure, "Examples of predicted genes", [(axes[0], words)],
                       f"n = {captions.spread(model['n_patients'])} patients, each predicted by models that never saw "
                       "the patient. R is Pearson's; no interval is shown.")


def genes_of(table):
    """Which genes of a cell type are shown: list of (why, row of its table, named after the gene)."""
    table = table.dropna(subset="pearson_r").sort_values("pearson_r", ascending=False, kind="stable").set_index("gene")
    n_robust = (table["pearson_r"] > predictability.ROBUST_R).sum()
    places = {"best": 0} | ({"middle": n_robust // 2} if n_robust > 1 else {})
    return [(why, table.iloc[place]) for why, place in places.items() if place < len(table)]


def example(axis, predicted, gene):
    """Scatter of one gene on equal scales, with the line of equality."""
    column = predicted.outputs.tolist().index(gene)
    labels, predictions = predicted.labels[:, column], predicted.predictions[:, column]
    both = np.r_[labels, predictions]
    low, high = np.nanmin(both), np.nanmax(both)
    space = 0.05 * (high - low) or 0.5
    axis.axline((low, low), slope=1, color=GREY, linestyle=":", linewidth=0.8)
    axis.scatter(labels, predictions, s=4, color=BLUE, alpha=0.6, linewidths=0)
    limits = low - space, high + space
    ticks = [tick for tick in MaxNLocator(3).tick_values(*limits) if limits[0] <= tick <= limits[1]]
    axis.set(xlim=limits, ylim=limits, aspect="equal", xticks=ticks, yticks=ticks)
