"""Figure 6: training over folds, calibration of the direct model, confidence of labels against R."""
import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import calibration_curve

from drawing import predictability, style
from drawing.style import BLUE, GREY, ORANGE
from slide_ex import text_table
from slide_ex.project import description_file, predictions_file

N_PROBABILITY_BINS = 10
TARGET_NAMES = {"cell_fraction": "Abundance", "direct": "Response, direct"}


def training(project):
    """Validation score over the epochs of every model, a panel per target; a point at the best epoch."""
    histories = {}
    for path in sorted(project.glob("results/*_preds/result_*/history.csv")):
        histories.setdefault(path.parts[-3].removesuffix("_preds"), []).append(
            text_table.read_results(path, "the training script"))
    figure, axes = style.small_multiples(len(histories), 4, 1.3)
    for axis, (target, of_folds) in zip(axes, histories.items()):
        score = of_folds[0].columns[-1]
        for history in of_folds:
            axis.plot(history["epoch"], history[score], color=BLUE, alpha=0.35, linewidth=0.5)
            best = history.loc[history[score].idxmax()]
            axis.plot(best["epoch"], best[score], ".", color=ORANGE, markersize=3)
        axis.set(title=f"{TARGET_NAMES.get(target, target)}, {len(of_folds)} models",
                 ylabel={"valid_r": "Validation R", "valid_accuracy": "Validation accuracy"}[score])
    figure.supxlabel("Epoch (orange: the best of each model)")
    return figure


def calibration(project):
    """Share of patients with a response against its predicted probability, in equal bins, and numbers of patients."""
    predicted = predictions_file.read_target(project / "results" / "predictions.h5", "direct")
    labels, probabilities = predicted.labels[:, 0], predicted.predictions[:, 0].astype(float)
    figure, (curve, counts) = plt.subplots(2, 1, sharex=True, height_ratios=[2, 1], figsize=(
        style.COLUMN_WIDTH_IN, 1.2 * style.COLUMN_WIDTH_IN))
    observed, predicted = calibration_curve(labels, probabilities, n_bins=N_PROBABILITY_BINS)
    curve.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    curve.plot(predicted, observed, color=BLUE, marker="o", markersize=3)
    said = description_file.read(project)
    curve.set(ylabel=f"Share with {said.responder}", xlim=(0, 1), ylim=(-0.02, 1.02),
              title="Calibration of the direct model, out of fold")
    bins = np.linspace(0, 1, N_PROBABILITY_BINS + 1)
    counts.hist([probabilities[labels == 0], probabilities[labels == 1]], bins, stacked=True,
                color=[GREY, ORANGE], label=[said.non_responder, said.responder])
    counts.set(xlabel=f"Predicted probability of {said.responder}", ylabel="Patients")
    counts.legend()
    return figure


def confidence(project):
    """R of each gene against the confidence of its deconvolved labels, a panel per cell type."""
    _, model = predictability.read_summary(project / "results")
    figure, axes = style.small_multiples(len(model), 5, 1.4, sharey=True)
    for axis, target in zip(axes, model.index):
        table = predictability.read_genes(project / "results", target).dropna(subset=["pearson_r", "confidence"])
        size = np.clip(400 / max(len(table), 1), 0.5, 6)  # smaller points where there are more
        axis.scatter(table["confidence"], table["pearson_r"], s=size, color=BLUE, alpha=0.5, linewidths=0,
                     rasterized=True)
        axis.axhline(predictability.ROBUST_R, color="black", linestyle=":")
        axis.set_title(f"{target}\n{len(table):,} genes")
        axis.locator_params(nbins=4)
    figure.supxlabel("Confidence of the deconvolution")
    figure.supylabel("Pearson R")
    return figure
