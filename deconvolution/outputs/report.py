"""deconvolution/report.pdf: what a reader should look at before trusting the numbers."""
import textwrap

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.backends.backend_pdf import PdfPages

PAGE_INCHES = (8.3, 5.8)  # A5 landscape


def draw(path, result, summary):
    """Write the pages: fractions, confidence, mirror of bulk, abundance, notes.

    `result`: result_files.Result; `summary`: its table per cell type."""
    colours = plt.get_cmap("tab20")(np.arange(len(summary)) % 20)
    with PdfPages(path, metadata={"CreationDate": None}) as pdf:  # no date: the same run gives the same file
        for page in (draw_fractions, draw_confidence, draw_mirror, draw_abundance, draw_notes):
            figure, axes = plt.subplots(figsize=PAGE_INCHES, layout="constrained")
            page(axes, result, summary, colours)
            pdf.savefig(figure)
            plt.close(figure)


def draw_fractions(axes, result, summary, colours):
    """One stacked bar a patient, in the order of the most abundant type."""
    types = summary.index[np.argsort(-summary["mean_fraction"].to_numpy(), kind="stable")]
    table = result.fractions.sort_values(types[0], ascending=False)[types]
    edges = np.hstack([np.zeros((len(table), 1)), np.cumsum(table.to_numpy(), axis=1)])
    for k, cell_type in enumerate(types):
        axes.fill_between(np.arange(len(table)), edges[:, k], edges[:, k + 1], step="mid",
                          color=colours[summary.index.get_loc(cell_type)], label=cell_type)
    axes.set(title="Estimated cell fractions", xlabel=f"{len(table)} patients, by {types[0]}", ylabel="fraction",
             xlim=(0, len(table) - 1), ylim=(0, 1))
    axes.figure.legend(loc="outside right upper", fontsize="small")


def draw_confidence(axes, result, summary, colours):
    """Genes above each confidence, per cell type."""
    for cell_type, colour in zip(summary.index, colours):
        axes.plot(np.sort(result.confidence[cell_type])[::-1], np.arange(len(result.confidence)) + 1, color=colour,
                  label=f"{cell_type}: {summary.loc[cell_type, 'n_confident_0.95']}")
    axes.axvline(.95, color="grey", linestyle=":")
    axes.set(title="Genes with at least this confidence (legend: at 0.95)", xlabel="confidence", ylabel="genes",
             yscale="log", xlim=(0, 1))
    axes.figure.legend(loc="outside right upper", fontsize="small")


def draw_mirror(axes, result, summary, colours):
    """Median correlation of the estimates with bulk, per cell type."""
    axes.barh(summary.index, summary["median_r_with_bulk"], color=colours)
    axes.invert_yaxis()
    axes.set(title="How much the estimates mirror bulk", xlim=(-.1, 1),
             xlabel="Pearson's r of estimate and bulk over patients, median over genes; 1: nothing but bulk")


def draw_abundance(axes, result, summary, colours):
    """Median correlation of the estimates with the fraction of their own type, per cell type."""
    axes.barh(summary.index, summary["median_r_with_fraction"], color=colours)
    axes.invert_yaxis()
    axes.set(title="How much the estimates follow abundance", xlim=(-1, 1),
             xlabel="Pearson's r of log2(estimate + 1) and own fraction, median over genes; 0: expression in a cell")


def draw_notes(axes, result, summary, colours):
    """Method, size and all notes."""
    lines = [f"method: {result.method}", f"{len(result.bulk)} genes, {len(result.fractions)} patients, "
             f"{len(summary)} cell types", *(result.notes or ["no warnings"])]
    text = "\n".join(textwrap.fill(line, 95, subsequent_indent="    ") for line in lines)
    axes.text(0, 1, text, va="top", fontsize="small", transform=axes.transAxes, parse_math=False)
    axes.set_title("Notes and warnings")
    axes.axis("off")
