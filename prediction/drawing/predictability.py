"""Figure 2 within the cohort: how well genes are predicted, by cell type, beside baselines, and examples."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from drawing import style
from drawing.style import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, YELLOW
from evaluation import result_tables
from slide_ex import text_table
from slide_ex.project import predictions_file

MADE_BY = "prediction/collect_results.py"
MODEL_COLOURS = BLUE, GREEN, PINK, RED, SKY, GREY, YELLOW
MODEL_MARKERS = "os^Dv<>"
ROBUST_R, N_BEST_GENES = result_tables.R_THRESHOLDS[0], result_tables.N_TOP_GENES


def predictability(project):
    """Distribution of the genes' R per cell type, number of genes above each R, medians of model and baselines."""
    summary, model = read_summary(project / "results")
    genes = {target: read_genes(project / "results", target)["pearson_r"].dropna()
             for target in model.index}
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(style.PAGE_WIDTH_IN, 1.1 + 0.28 * len(model)), sharey=True, width_ratios=[2, 1, 1])
    rows = np.arange(len(model))[::-1]
    for row, r in zip(rows, genes.values()):
        half_violin(left, r, row, BLUE, "high")
        half_violin(left, r.nlargest(N_BEST_GENES), row, ORANGE, "low")
    left.axvline(ROBUST_R, color=GREY, linestyle=":")
    as_colour = model.get("minus_colour_low", pd.Series(1, model.index)) <= 0  # paired interval includes 0
    note = "\n* not better than mean colour" * bool(as_colour.any())
    left.set(xlabel=f"Pearson R over patients{note}", yticks=rows, ylim=(-0.6, len(model) - 0.4),
             yticklabels=[f"{target} ({n:,.0f}){'*' * bool(as_colour[target])}"
                          for target, n in model["n_genes"].items()],
             title=f"R of all genes (blue), of the best {N_BEST_GENES:,} (orange)")
    above = model.filter(like="n_r_above_")  # ascending R, so that each narrower bar lies on the wider ones
    for column, shade in zip(above, plt.get_cmap("Blues")(np.linspace(0.3, 1, above.shape[1]))):
        middle.barh(rows, above[column], color=shade, label=f"> {column.removeprefix('n_r_above_')}")
    middle.set(xlabel="Genes", title="Genes above R")
    middle.locator_params(axis="x", nbins=4, integer=True)
    for name, colour, marker in zip(summary["model"].unique(), MODEL_COLOURS, MODEL_MARKERS):
        medians = summary[summary["model"] == name].set_index("target")["median_r"].reindex(model.index)
        right.scatter(medians, rows, s=14, color=colour, marker=marker, label=name)
    if "median_r_in_folds" in model:
        right.scatter(model["median_r_in_folds"], rows, s=14, facecolors="none", edgecolors=BLUE, linewidths=0.7,
                      label="slide-ex, R in folds")
    right.axvline(0, color=GREY, linewidth=0.5)
    right.set(xlabel="Median R", title="Model and baselines")
    figure.legend(handles=middle.containers, loc="outside lower left", ncols=5, title="Pearson R")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=3)
    return figure


def read_genes(results, target):
    """The table of a cell type's genes."""
    return text_table.read_results(results / f"{target}_genes.csv", MADE_BY)


def read_summary(results):
    """Rows of summary.csv whose targets have a table of genes, and those of the model alone, by target."""
    summary = text_table.read_results(results / "summary.csv", MADE_BY)
    summary = summary[(results / (summary["target"] + "_genes.csv")).map(lambda path: path.is_file())]
    return summary, summary[summary["model"] == "slide-ex"].set_index("target")


def half_violin(axis, values, row, colour, side):
    """Density of `values` above ("high") or below ("low") a row, with its quartiles; nothing for under two values."""
    if len(values) < 2 or values.nunique() == 1:
        return
    body = axis.violinplot([values], positions=[row], orientation="horizontal", side=side, widths=0.85,
                           showextrema=False)["bodies"][0]
    body.set(facecolor=colour, alpha=0.7, linewidth=0)
    quartiles = np.percentile(values, [25, 50, 75])
    axis.plot(quartiles, np.full(3, row + (0.06 if side == "high" else -0.06)), color="black", marker="|", markersize=3)


def examples(project):
    """Prediction against label of two genes of each cell type: the best, and the one in the middle of the robust."""
    results = project / "results"
    _, model = read_summary(results)
    figure, axes = style.small_multiples(2 * len(model), 6, 1.35)
    for i, target in enumerate(model.index):
        table = read_genes(results, target).dropna(subset="pearson_r")
        table = table.sort_values("pearson_r", ascending=False, kind="stable").set_index("gene")
        n_robust = (table["pearson_r"] > ROBUST_R).sum()
        predicted = predictions_file.read_target(results / "predictions.h5", target)
        example(axes[2 * i], predicted, target, table.iloc[0], "best")
        if n_robust:
            example(axes[2 * i + 1], predicted, target, table.iloc[n_robust // 2], "mid-robust")
        else:
            axes[2 * i + 1].set_axis_off()
            axes[2 * i + 1].text(0.5, 0.5, f"no gene with\nR > {ROBUST_R}", ha="center", va="center", fontsize=6)
    figure.supxlabel("Label: deconvolved expression, logarithm")
    figure.supylabel("Predicted expression")
    return figure


def example(axis, predicted, target, row, why):
    """Scatter of one gene; row: its line of <cell type>_genes.csv, by gene; why: it was chosen."""
    column = predicted.outputs.tolist().index(row.name)
    axis.scatter(predicted.labels[:, column], predicted.predictions[:, column], s=4, color=BLUE, alpha=0.6,
                 linewidths=0)
    axis.set_title(f"{target}\n{row.name}\nR {row['pearson_r']:.2f}, {why}", fontsize=6)
    axis.locator_params(nbins=3)
