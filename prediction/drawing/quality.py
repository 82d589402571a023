"""Figure 6, how far predictions can be trusted: calibration of the direct model, confidence of labels against R."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

from drawing import captions, predictability, style
from drawing.marks import BLUE, GREY, ORANGE
from slide_ex.project import description_file, predictions_file

PATIENTS_IN_BIN = 10  # at least
MOST_BINS = 10
CONFIDENCE = 0.95
CONFIDENCE_EDGES = np.array([0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1])  # of bins of genes, the last one with both ends
FEW_GENES = 5         # below it a box says less than points
N_COLUMNS, NAME_LETTERS = 5, 22


def calibration(project):
    """Share of patients with a response in bins of equal numbers of patients, and the distribution of probabilities."""
    predicted = predictions_file.read_target(project / "results" / "predictions.h5", "direct")
    labels, probabilities = predicted.labels[:, 0], predicted.predictions[:, 0].astype(float)
    said, bins = description_file.read(project), calibration_bins(labels, probabilities)
    figure, (curve, counts) = plt.subplots(2, 1, sharex=True, height_ratios=[2.2, 1], figsize=(
        style.COLUMN_WIDTH_IN, 1.25 * style.COLUMN_WIDTH_IN))
    curve.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    curve.errorbar(bins["predicted"], bins["observed"], yerr=[bins["observed"] - bins["low"], bins["high"]
                   - bins["observed"]], color=BLUE, marker="o", markersize=3, linewidth=0.8, capsize=1.5)
    for row in bins.itertuples():  # at two heights, so that neighbours do not collide
        curve.annotate(f"{row.n}", (row.predicted, row.high), (0, 2 + 7 * (row.Index % 2)), ha="center",
                       textcoords="offset points", fontsize=6)
    curve.set(ylabel=f"Share with {said.responder}", xlim=(0, 1), ylim=(-0.02, 1.15), yticks=np.linspace(0, 1, 6),
              title="Calibration of the direct model, out of fold")
    counts.hist([probabilities[labels == 0], probabilities[labels == 1]], np.linspace(0, 1, 11), stacked=True,
                color=[GREY, ORANGE], label=[said.non_responder, said.responder])
    counts.set(xlabel=f"Predicted probability of {said.responder}", ylabel="Patients")
    counts.locator_params(axis="y", integer=True, nbins=4)
    counts.legend(handlelength=1)
    rows = captions.listed(f"{captions.number(row.predicted)}: {captions.interval(row.observed, row.low, row.high)} of "
                           f"{row.n}" for row in bins.itertuples())
    return style.Drawn(figure, "Calibration of the direct model, out of fold", [
        (curve, f"Share of patients with {said.responder} against the mean predicted probability, in bins of about as "
                f"many patients each (numbers), with Wilson's 95 % interval. Dotted: perfect calibration. {rows}."),
        (counts, f"Patients by predicted probability; orange: {said.responder}, grey: {said.non_responder}.")],
        f"n = {len(labels)} patients, {labels.sum():.0f} with {said.responder}. No test.")


def calibration_bins(labels, probabilities):
    """Bins of about equal numbers of patients; DataFrame with n, predicted (mean), observed (share), low, high.

    Patients of the same probability stay together.
    """
    n_bins = int(np.clip(len(labels) // PATIENTS_IN_BIN, 1, MOST_BINS))
    table = pd.DataFrame({"label": labels, "predicted": probabilities})
    table["bin"] = pd.qcut(table["predicted"], n_bins, labels=False, duplicates="drop")
    bins = table.fillna({"bin": 0}).groupby("bin").agg(n=("label", "size"), events=("label", "sum"), predicted=(
        "predicted", "mean")).reset_index(drop=True)
    limits = [stats.binomtest(int(row.events), int(row.n)).proportion_ci(CONFIDENCE, "wilson")
              for row in bins.itertuples()]
    return bins.assign(observed=bins["events"] / bins["n"], low=[limit.low for limit in limits],
                       high=[limit.high for limit in limits])


def confidence(project):
    """Boxes of R of the genes by the confidence of their deconvolved labels, a panel per cell type."""
    _, model = predictability.read_summary(project / "results")
    names, said = style.by_value(model["median_r"]), []
    figure, axes = style.small_multiples(len(names), N_COLUMNS, 1.8, sharey=True)
    for axis, target in zip(axes, names):
        table = predictability.read_genes(project / "results", target).dropna(subset=["pearson_r", "confidence"])
        table["bin"] = pd.cut(table["confidence"], CONFIDENCE_EDGES, labels=False, include_lowest=True, right=False)
        table.loc[table["confidence"] == CONFIDENCE_EDGES[-1], "bin"] = len(CONFIDENCE_EDGES) - 2
        medians = boxes(axis, table)
        axis.axhline(predictability.ROBUST_R, color="black", linestyle=":", linewidth=0.8)
        axis.set_title(f"{style.broken(target, NAME_LETTERS)}\n{captions.counted(len(table), 'gene')}")
        said.append(f"{target} " + captions.listed(medians))
    figure.supxlabel("Confidence of the deconvolution, in bins (genes)")
    figure.supylabel("Pearson R")
    words = ("R of the genes in bins of the confidence of their deconvolved labels; in brackets numbers of genes. Box: "
             f"quartiles and median, whiskers: 5th and 95th percentile; points where a bin has fewer than "
             f"{FEW_GENES} genes. Dotted: R = {predictability.ROBUST_R}. Median R by bin: {'; '.join(said)}.")
    return style.Drawn(figure, "Confidence of the labels and how well genes are predicted", [(axes[0], words)],
                       f"n = {captions.spread(model['n_patients'])} patients. No test.")


def boxes(axis, table):
    """Boxes of R by bin; list of 'bin: median' in words."""
    said, ticks = [], {}
    for place, (number, of_bin) in enumerate(table.groupby("bin")):
        r, low, high = of_bin["pearson_r"], *CONFIDENCE_EDGES[[int(number), int(number) + 1]]
        if len(r) < FEW_GENES:
            axis.plot(np.full(len(r), place), r, ".", color=BLUE, markersize=3)
        else:
            axis.boxplot([r], positions=[place], widths=0.6, whis=(5, 95), showfliers=False, patch_artist=True,
                         boxprops={"facecolor": BLUE, "alpha": 0.5, "linewidth": 0.5}, capprops={"linewidth": 0.5},
                         whiskerprops={"linewidth": 0.5}, medianprops={"color": "black"}, manage_ticks=False)
        ticks[place] = f"{low:g}–{high:g} ({len(r):,})"
        said.append(f"{low:g}–{high:g}: {captions.number(r.median())}")
    axis.set_xticks(list(ticks), list(ticks.values()), rotation=90)
    axis.set(xlim=(-0.7, max(len(ticks), 1) - 0.3))
    return said
