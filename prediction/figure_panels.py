"""The figures, one function each: read tables of results/, return a matplotlib figure at journal width.

Numbering follows the paper: 2 predictability of genes, 3 abundance, 4 response to chemotherapy.
"""
import h5py
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

matplotlib.use("Agg")
plt.rcParams.update({"font.size": 7, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42,
                     "axes.titlesize": 7, "legend.frameon": False, "lines.linewidth": 1})
PAGE_WIDTH_IN = 180 / 25.4  # two columns of a journal page
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#999999"  # Okabe and Ito: safe for colour-blind readers
MODEL_COLOURS = BLUE, "#009E73", "#CC79A7", "#D55E00", "#56B4E9", GREY, "#F0E442"
N_BEST_GENES = 1000
ROBUST_R = 0.4  # "robustly predicted" above it (method, Statistics)


def predictability(results):
    """Figure 2: distribution of the genes' R per cell type, number of genes above each R, model and baselines."""
    summary = pd.read_csv(results / "summary.csv")
    summary = summary[(results / (summary["target"] + "_genes.csv")).map(lambda path: path.is_file())]
    model = summary[summary["model"] == "slide-ex"].set_index("target")
    genes = {target: pd.read_csv(results / f"{target}_genes.csv")["pearson_r"].dropna() for target in model.index}
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(PAGE_WIDTH_IN, 1.1 + 0.28 * len(model)), sharey=True, layout="constrained",
        width_ratios=[2, 1, 1])
    rows = np.arange(len(model))[::-1]
    for row, r in zip(rows, genes.values()):
        half_violin(left, r, row, BLUE, "high")
        half_violin(left, r.nlargest(N_BEST_GENES), row, ORANGE, "low")
    left.axvline(ROBUST_R, color=GREY, linestyle=":")
    left.set(xlabel="Pearson R over patients", yticks=rows, ylim=(-0.6, len(model) - 0.4),
             yticklabels=[f"{target} ({n:.0f})" for target, n in model["n_genes"].items()],
             title=f"R of all genes (blue), of the best {N_BEST_GENES:,} (orange)")
    above = model.filter(like="n_r_above_")  # ascending R, so that each narrower bar lies on the wider ones
    for column, shade in zip(above, plt.get_cmap("Blues")(np.linspace(0.3, 1, above.shape[1]))):
        middle.barh(rows, above[column], color=shade, label=f"> {column.removeprefix('n_r_above_')}")
    middle.set(xlabel="Genes", title="Genes above R")
    for name, colour in zip(summary["model"].unique(), MODEL_COLOURS):
        medians = summary[summary["model"] == name].set_index("target")["median_r"].reindex(model.index)
        right.scatter(medians, rows, s=14, color=colour, label=name)
    right.axvline(0, color=GREY, linewidth=0.5)
    right.set(xlabel="Median R", title="Model and baselines")
    figure.legend(handles=middle.containers, loc="outside lower left", ncols=5, title="Pearson R")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=3)
    return figure


def half_violin(axis, values, row, colour, side):
    """Density of `values` above ("high") or below ("low") a row, with its quartiles; nothing for under two values."""
    if len(values) < 2 or values.nunique() == 1:
        return
    body = axis.violinplot([values], positions=[row], orientation="horizontal", side=side, widths=0.85,
                           showextrema=False)["bodies"][0]
    body.set(facecolor=colour, alpha=0.7, linewidth=0)
    quartiles = np.percentile(values, [25, 50, 75])
    axis.plot(quartiles, np.full(3, row + (0.06 if side == "high" else -0.06)), color="black", marker="|", markersize=3)


def abundance(results):
    """Figure 3: predicted against deconvolved abundance, a panel per cell type, R and Spearman from abundance.csv."""
    table = pd.read_csv(results / "abundance.csv").set_index("cell_type")
    with h5py.File(results / "predictions.h5") as file:
        group = file["abundance"]
        cell_types = list(group["cell_types"].asstr()[:])
        labels, predictions = group["labels"][:], group["predictions"][:]
    n_columns = min(5, len(cell_types))
    n_rows = -(-len(cell_types) // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(PAGE_WIDTH_IN, 0.3 + 1.55 * n_rows), squeeze=False,
                                layout="constrained")
    for axis in axes.flat[len(cell_types):]:
        axis.set_axis_off()
    for axis, cell_type in zip(axes.flat, cell_types):
        column, row = cell_types.index(cell_type), table.loc[cell_type]
        axis.scatter(labels[:, column], predictions[:, column], s=5, color=BLUE, alpha=0.6, linewidths=0)
        on_diagonal = np.nanmean(labels[:, column])  # inside the data, so that the line does not widen the axes
        axis.axline((on_diagonal, on_diagonal), slope=1, color=GREY, linestyle=":")
        axis.set_title(f"{cell_type}\nR {row['pearson_r']:.2f}, rho {row['spearman_rho']:.2f}, "
                       f"n {row['n_patients']:.0f}")
        axis.locator_params(nbins=4)
    figure.supxlabel("Deconvolved fraction")
    figure.supylabel("Predicted fraction")
    return figure


def response(results):
    """Figure 4: ROC curve of the out-of-fold probabilities of the direct model; AUC and interval from direct.csv."""
    table = pd.read_csv(results / "direct.csv").iloc[0]
    with h5py.File(results / "predictions.h5") as file:
        false_positive, true_positive, _ = roc_curve(file["direct/labels"][:], file["direct/predictions"][:])
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH_IN / 2, PAGE_WIDTH_IN / 2), layout="constrained")
    axis.plot(false_positive, true_positive, color=BLUE, drawstyle="steps-post", label=(
        f"direct: AUC {table['auc']:.2f} ({table['auc_low']:.2f} to {table['auc_high']:.2f})"))
    axis.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    axis.set(xlabel="False positive rate", ylabel="True positive rate", aspect="equal",
             title=f"pCR against RD, {table['n_patients']:.0f} patients, {table['n_pcr']:.0f} with pCR")
    axis.legend(loc="lower right")
    return figure
