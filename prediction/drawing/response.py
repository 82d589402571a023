"""Figure 4: response to chemotherapy, predicted from cell-type expression, bulk, abundance and directly from slides."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from drawing import style
from drawing.style import BLUE, GREEN, GREY, ORANGE, PINK, RED
from slide_ex import text_table
from slide_ex.project import description_file, predictions_file

KIND_COLOURS = {"ensemble": RED, "cell type": BLUE, "bulk": ORANGE, "abundance": GREEN, "clinical": PINK,
                "direct": "black", "mean colour": GREY}  # in the order of the rows
N_ENSEMBLES = 5  # shown, those with the highest AUC: there are 36 pairs of nine cell types
MIN_ROWS = 6  # room for bars, so that a few are not as thick as beams
MADE_BY = "prediction/predict_response.py"
METRICS = {"auc": "AUC", "average_precision": "Average precision"}


def response(project, external):
    """A row per setting of response/: ROC curves, AUC and average precision with intervals; else the direct model.

    external : dict of name to path of projects; of theirs, the setting in which this project was learnt from
    """
    settings = read_settings(project, external) or {"out of fold": direct_model(project / "results")}
    shown = {name: ordered(table) for name, (table, _) in settings.items()}
    heights_in = [max(2, 0.6 + 0.12 * len(table)) for table in shown.values()] + [0.25]
    figure = plt.figure(figsize=(style.PAGE_WIDTH_IN, sum(heights_in)))
    *rows, last = figure.subfigures(len(heights_in), 1, height_ratios=heights_in)
    kinds, responder = {}, description_file.read(project).responder
    for row, (name, table) in zip(rows, shown.items()):
        every, scores = settings[name]
        curves, *bars = row.subplots(1, 3, width_ratios=[1.1, 1, 1])
        kinds |= roc_curves(curves, table, scores)
        for axis, (metric, label) in zip(bars, METRICS.items()):
            intervals(axis, table, metric, label)
        bars[1].tick_params(labelleft=False)
        left_out = f", without {len(every) - len(table)} weaker ensembles" if len(table) < len(every) else ""
        row.suptitle(f"{name}: {table['n_patients'].max():.0f} patients, {table['n_pcr'].max():.0f} with {responder}"
                     + left_out)
    last.legend(kinds.values(), kinds.keys(), loc="center", ncols=len(kinds))
    return figure


def read_settings(project, external):
    """Dict of a setting's name to its tables comparison.csv and scores.csv."""
    trained = project.resolve().name
    folders = {path.name.replace("_", " "): path for path in sorted(project.glob("response/*"))}
    folders |= {f"{trained} to {name}": path / "response" / trained for name, path in external.items()}
    return {name: tuple(text_table.read_results(folder / table, MADE_BY) for table in ("comparison.csv", "scores.csv"))
            for name, folder in folders.items() if (folder / "comparison.csv").is_file()}


def direct_model(results):
    """The direct model alone, as tables like comparison.csv and scores.csv of response/."""
    table = text_table.read_results(results / "direct.csv", predictions_file.OUT_OF_FOLD_MADE_BY)
    table = table.assign(features="direct", kind="direct")
    predicted = predictions_file.read_target(results / "predictions.h5", "direct")
    return table, pd.DataFrame({"response": predicted.labels[:, 0], "direct": predicted.predictions[:, 0]})


def ordered(table):
    """Rows by kind, in each from the highest AUC down; the first N_ENSEMBLES ensembles."""
    place = table["kind"].map({kind: i for i, kind in enumerate(KIND_COLOURS)})
    table = table.assign(place=place).sort_values(["place", "auc"], ascending=[True, False])
    shown = (table["kind"] != "ensemble") | (table.groupby("kind").cumcount() < N_ENSEMBLES)
    return table[shown].reset_index(drop=True)


def roc_curves(axis, table, scores):
    """ROC curve of the best feature set of each kind, from the patients' scores; dict of kind to line."""
    lines = {}
    for _, row in table.groupby("place", sort=True).head(1).iterrows():
        known = scores[["response", row["features"]]].dropna()
        false_positive, true_positive, _ = roc_curve(known["response"], known[row["features"]])
        lines[row["kind"]], = axis.plot(false_positive, true_positive, color=KIND_COLOURS[row["kind"]],
                                        drawstyle="steps-post", label=row["features"])
    axis.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    axis.set(xlabel="False positive rate", ylabel="True positive rate", aspect="equal", title="Best of each kind")
    return lines


def intervals(axis, table, metric, label):
    """Bars of a metric with its 95 % interval; the dotted line is chance."""
    rows = np.arange(len(table))[::-1]
    error = np.abs(table[[f"{metric}_low", f"{metric}_high"]].sub(table[metric], axis=0)).to_numpy().T
    axis.barh(rows, table[metric], color=table["kind"].map(KIND_COLOURS), alpha=0.8)
    axis.errorbar(table[metric], rows, xerr=error, fmt="none", ecolor="black", elinewidth=0.6, capsize=1.5)
    chance = 0.5 if metric == "auc" else table["n_pcr"].max() / table["n_patients"].max()
    axis.axvline(chance, color=GREY, linestyle=":")
    axis.set(yticks=rows, yticklabels=table["features"], xlim=(0, 1),
             ylim=(len(table) - 0.4 - max(len(table), MIN_ROWS), len(table) - 0.4), title=label)
