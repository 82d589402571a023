"""Figure 4: response to chemotherapy, predicted from cell-type expression, bulk, abundance and directly from slides."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from drawing import captions, marks, style
from drawing.marks import GREY, KINDS
from slide_ex import text_table
from slide_ex.project import description_file, predictions_file

N_ENSEMBLES = 5  # shown, those with the highest AUC: there are 36 pairs of nine cell types
CHOSEN_IN_TRAINING = "top triple"  # the ensemble that no test patient has chosen
MIN_ROWS = 6     # room for rows, so that a few do not stand far apart
LINE_IN, NAME_LETTERS = 0.13, 30  # height of a line of a name, its letters
MADE_BY = "prediction/predict_response.py"
METRICS = {"auc": "AUC", "average_precision": "Average precision"}
P_DIRECT = "p_delong_direct"


def response(project, external):
    """A row per setting of response/: ROC curves, AUC and average precision with intervals; else the direct model.

    external : dict of name to path of projects; of theirs, the setting in which this project was learnt from
    """
    settings = read_settings(project, external) or {"Out of fold": direct_model(project / "results")}
    shown = {name: ordered(table) for name, (table, _) in settings.items()}
    heights_in = [max(2.6, 0.8 + LINE_IN * lines_of(table)[1].sum()) for table in shown.values()]
    figure = plt.figure(figsize=(style.PAGE_WIDTH_IN, sum(heights_in)))
    rows = figure.subfigures(len(heights_in), 1, height_ratios=heights_in, squeeze=False)[:, 0]
    panels, responder = [], description_file.read(project).responder
    for row, (name, table) in zip(rows, shown.items()):
        every, scores = settings[name]
        curves, *bars = row.subplots(1, 3, width_ratios=[1.2, 1, 1])
        left_out = f", without {len(every) - len(table)} weaker ensembles" if len(every) > len(table) else ""
        row.suptitle(f"{name}: {table['n_patients'].max():.0f} patients, {table['n_pcr'].max():.0f} with {responder}"
                     f"{left_out}")
        panels.append((curves, f"{name}. {roc_curves(curves, table, scores)}"))
        panels += [(axis, metric_points(axis, table, *metric)) for axis, metric in zip(bars, METRICS.items())]
        bars[1].tick_params(labelleft=False)
    return style.Drawn(figure, f"Response to chemotherapy ({responder}), predicted from slides", panels, notes(shown))


def read_settings(project, external):
    """Dict of a setting's name to its tables comparison.csv and scores.csv."""
    trained = project.resolve().name
    folders = {name_of(path.name.replace("_", " ")): path for path in sorted(project.glob("response/*"))}
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
    """Rows by kind, in each from the highest AUC down; the first N_ENSEMBLES ensembles, and the top triple."""
    table = table.assign(place=table["kind"].map({kind: i for i, kind in enumerate(KINDS)}))
    table = table.sort_values(["place", "auc"], ascending=[True, False], kind="stable")
    shown = (table["kind"] != "ensemble") | (table.groupby("kind").cumcount() < N_ENSEMBLES)
    return table[shown | (table["features"] == CHOSEN_IN_TRAINING)].reset_index(drop=True)


def best_of_kinds(table, statistic="auc"):
    """The row of each kind whose curve is drawn, in the order of KINDS, and whether these patients chose it.

    The top triple stands for the ensembles where it is there; else it is the row with the highest statistic.

    Returns
    -------
    list of (row as a Series, bool)
    """
    chosen = []
    for kind in KINDS:
        rows = table[table["kind"] == kind].sort_values(statistic, ascending=False, kind="stable")
        if len(rows):
            triple = rows[rows["features"] == CHOSEN_IN_TRAINING]
            chosen.append((triple.iloc[0], False) if len(triple) else (rows.iloc[0], len(rows) > 1))
    return chosen


def name_of(features):
    """A feature set as figures call it: names of cell types stay as they are."""
    return features[:1].upper() + features[1:]


def roc_curves(axis, table, scores):
    """ROC curves of one feature set of each kind, from the patients' scores; what they show."""
    chosen = best_of_kinds(table)
    for row, of_many in chosen:
        known, mark = scores[["response", row["features"]]].dropna(), marks.of(row["kind"])
        false_positive, true_positive, _ = roc_curve(known["response"], known[row["features"]])
        star = "*" if of_many else ""
        axis.plot(false_positive, true_positive, color=mark.colour, linestyle=mark.line, drawstyle="steps-post",
                  label=f"{style.broken(name_of(row['features']))}{star}, {captions.number(row['auc'])}")
    axis.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=0.8)
    axis.set(xlabel="False positive rate", ylabel="True positive rate", aspect="equal", title="ROC curves",
             xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], anchor="NW")
    some = any(of_many for _, of_many in chosen)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), handlelength=2.4, borderaxespad=0.2,
                title="AUC (* best of its kind\non these patients)" if some else "AUC")
    said = captions.listed(f"{row['features']} ({row['kind']}{', best of its kind' if of_many else ''}) "
                           f"{captions.number(row['auc'])}" for row, of_many in chosen)
    return f"ROC curves of one feature set of each kind, with AUC: {said}." + (
        " Those called best were chosen on the patients that are shown, so their AUC leans upwards." if some else "")


def lines_of(table):
    """Names of the rows, broken into lines (list of str), and the numbers of their lines, int (n_rows,)."""
    names = [style.broken(name_of(name), NAME_LETTERS) for name in table["features"]]
    return names, np.array([name.count("\n") + 1 for name in names])


def metric_points(axis, table, metric, label):
    """Points of a metric with 95 % intervals, DeLong's p beside those of the AUC; dotted: chance. What it shows."""
    names, n_lines = lines_of(table)
    rows = n_lines / 2 - np.cumsum(n_lines)  # each as high as its name
    for kind, of_kind in table.groupby("kind"):
        mark, y = marks.of(kind), rows[of_kind.index]
        axis.hlines(y, of_kind[f"{metric}_low"], of_kind[f"{metric}_high"], color=mark.colour, linewidth=0.8)
        axis.plot(of_kind[metric], y, mark.marker, zorder=3, label=kind, **style.look(mark))
    chance = 0.5 if metric == "auc" else table["n_pcr"].max() / table["n_patients"].max()
    axis.axvline(chance, color=GREY, linestyle=":", linewidth=0.8)
    is_tested = metric == "auc" and P_DIRECT in table and table[P_DIRECT].notna().any()
    if is_tested:
        for y, p in zip(rows, table[P_DIRECT]):
            if np.isfinite(p):
                axis.text(1.03, y, captions.p_value(p), transform=axis.get_yaxis_transform(), va="center", fontsize=6)
    axis.set(yticks=rows, yticklabels=names, xlim=(0, 1), ylim=(-max(n_lines.sum(), MIN_ROWS), 0),
             title=f"{label}; p against the direct model" if is_tested else label)
    columns = [metric, f"{metric}_low", f"{metric}_high"]
    tested = table[P_DIRECT] if is_tested else np.full(len(table), np.nan)
    said = captions.listed(f"{name} {captions.interval(*values)}"
                           + (f" ({captions.p_value(p)})" if np.isfinite(p) else "")
                           for name, values, p in zip(table["features"], table[columns].to_numpy(), tested))
    return f"{label} with 95 % interval, dotted at {captions.number(chance)} (chance): {said}."


def notes(shown):
    """What is counted, and where intervals and p are from."""
    n = captions.listed(f"{table['n_patients'].max():.0f} patients ({table['n_pcr'].max():.0f} with a response) in "
                        f"{name}" for name, table in shown.items())
    return (f"n = {n}. Intervals of AUC: DeLong; of average precision: percentiles over resampled patients. p: "
            "DeLong's paired two-sided test against the direct model, not corrected for the number of rows. Scores are "
            "of patients that the models and classifiers have not seen.")
