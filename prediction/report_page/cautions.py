"""What a reader of the results should know first, in words: each function gives a list of sentences.

What stands before the first colon of a sentence is its headline, which can stand alone.
"""
import pandas as pd

from slide_ex import record
from slide_ex.ids import counted, some
from slide_ex.project import feature_file, features_file, model_folder
from slide_ex.slides import scale
from slide_ex.stages.result_states import checksum

MODEL = "slide-ex"
BASELINES = {"network": "The network alone", "low-rank": "The low-rank model alone", "blend": "The mean of both models",
             "ridge": "Ridge regression on mean features", "mean colour": "The mean colour of a slide",
             "bulk target": "A ridge that learnt bulk expression",
             "shuffled labels": "A ridge on labels shuffled between patients, which nothing can predict,"}
FEW_PATIENTS = 100       # below it the 95 % interval of a single R is wider than +-0.2
FEW_TILES = 10           # a slide of fewer tissue tiles says little about a tumour
NO_DISCRIMINATION = 0.5  # AUC of a coin


def of_project(project, slides, tables, features):
    """All sentences: the first of each kind, then the others.

    Kinds that weigh most come first: what is out of date, what cannot work, what does no better than something simple.

    slides : DataFrame of slide_pictures.read_table
    tables : dict of path relative to the project to DataFrame
    features : features_file.Slides or None
    """
    summaries = [table for path, table in tables.items() if path.endswith("/summary.csv")]
    summary = tables.get("results/summary.csv")
    groups = [about_stale_models(project, features) if features else [], about_stale_figures(project),
              about_features(features) if features else ["There are no features yet: run slide_processing/."]]
    if summary is not None:
        groups += [about_response(summary), about_baselines(summary), about_colour(summary)]
    elif not summaries:
        groups.append(["There are no results yet: train models and run prediction/collect_results.py."])
    groups += [about_patients(pd.concat(summaries)) if summaries else [], about_outside(tables), about_slides(slides),
               about_scans(features) if features else []]
    return [line for group in groups for line in group[:1]] + [line for group in groups for line in group[1:]]


def headline(sentence):
    """A sentence in one line."""
    return sentence.partition(": ")[0].rstrip(".,") + "."


def about_features(features):
    """Weights that were not trained, or are not known."""
    weights = features.attributes.get("weights")
    if weights == "random":
        return ["The encoder has random weights: features are random convolutions, which show that the pipeline works, "
                "not what trained encoders can do."]
    if weights == "imported":
        return ["Features were imported: how slides were cut, normalised and encoded is not recorded here."]
    return []


def about_scans(features):
    """Slides whose objective power and resolution differ; slides of another stain, blurred or marked ones."""
    recorded = features_file.read_geometry(features.path)
    differing = recorded.index[recorded["scale_difference"] > scale.MAX_AGREEMENT]
    lines = [f"Objective power and microns per pixel of {len(differing)} slides differ by more than "
             f"{scale.MAX_AGREEMENT:.0%}: {counted(differing)}."] if len(differing) else []
    odd = {slide_id: words for slide_id, row in recorded.iterrows() if (words := feature_file.oddities(row.dropna()))}
    if odd:
        named = [f"{slide_id} ({', '.join(words)})" for slide_id, words in odd.items()]
        lines.append(f"The tiles of {len(odd)} slides are odd: {some(named)}.")
    return lines


def about_slides(slides):
    """Slides that are not part of the results, and slides of which little is."""
    lines = []
    for status, meaning in (("failed", "could not be processed"), ("missing", "were not processed, or not collected"),
                            ("empty", "have no tissue tile")):
        ids = slides["slide_id"][slides["status"] == status]
        if len(ids):
            lines.append(f"{len(ids)} of {len(slides)} slides {meaning}: {counted(ids)}.")
    few = slides["slide_id"][(slides["tiles"] > 0) & (slides["tiles"] < FEW_TILES)]
    if len(few):
        lines.append(f"{len(few)} slides have fewer than {FEW_TILES} tissue tiles: {counted(few)}.")
    return lines


def about_patients(summary):
    n = int(summary["n_patients"].max())  # the direct model may know fewer, and has no R
    if n >= FEW_PATIENTS:
        return []
    half_width = 1.96 / max(n - 3, 1) ** 0.5  # of Fisher's z, which is R where R is small
    return [f"There are {n} patients: the 95 % interval of a single R is about +-{half_width:.2f}, and the best of "
            "many genes look better than they are."]


def about_baselines(summary):
    """Baselines that beat the model, or reach the lower end of its 95 % interval, by R in folds where it is known."""
    lines, models = [], summary[summary["model"] == MODEL].set_index("target")
    is_known = "median_r_in_folds" in summary and models["median_r_in_folds"].notna().any()
    median, words = ("median_r_in_folds", "median R in folds") if is_known else ("median_r", "median R")
    for baseline, rows in summary[summary["model"] != MODEL].groupby("model", sort=False):
        better, as_good = [], []
        for row in rows[rows["target"].isin(models.index)].to_dict("records"):
            estimate = "auc" if row["target"] == "direct" else median
            model, value = models.loc[row["target"]], row[estimate]
            text = f"{row['target']} ({value:.2f} against {model[estimate]:.2f})"
            if value >= model[estimate]:
                better.append(text)
            elif value >= model.get(f"{estimate}_low", model[estimate]):
                as_good.append(text)
        for found, how in ((better, "does as well as the model, or better,"),
                           (as_good, "is not clearly worse than the model (inside its 95 % interval)")):
            if found:
                lines.append(f"{BASELINES.get(baseline, baseline)} {how} for {len(found)} of {len(rows)} targets: "
                             f"by {words} or AUC, {', '.join(found)}.")
    return lines


def about_colour(summary):
    """Targets for which three numbers, the mean colour of a slide, may do as well: the paired interval includes 0."""
    if "minus_colour_low" not in summary:
        return []
    model = summary[(summary["model"] == MODEL) & (summary["minus_colour_low"] <= 0)]
    if model.empty:
        return []
    text = ", ".join("{target} ({minus_colour:+.2f}, {minus_colour_low:+.2f} to {minus_colour_high:+.2f})".format(**row)
                     for row in model.to_dict("records"))
    return [f"Not better than the mean colour of a slide for {len(model)} targets: by the 95 % interval of the "
            f"difference over the same patients, median R in folds or AUC, {text}."]


def about_response(summary):
    direct = summary[(summary["target"] == "direct") & (summary["model"] == MODEL)]
    if direct.empty or direct["auc_low"].iloc[0] > NO_DISCRIMINATION:
        return []
    auc, low, high = direct[["auc", "auc_low", "auc_high"]].iloc[0]
    return [f"The direct model does not tell responders apart: AUC {auc:.2f}, 95 % interval {low:.2f} to {high:.2f}."]


def about_outside(tables):
    """Slides that differ from those the models learnt from."""
    lines = []
    for path, table in tables.items():
        if path.startswith("predictions/") and path.endswith("/slides.csv") and table["outside"].any():
            ids = table["slide_id"][table["outside"].astype(bool)]
            lines.append(f"{len(ids)} of {len(table)} slides lie outside the training range of {path.split('/')[1]}: "
                         f"{counted(ids)}.")
    return lines


def about_stale_figures(project):
    """Figures whose tables have changed since they were drawn; those of projects that are not here are not checked."""
    path = project / "figures" / "figures.json"
    if not path.is_file():
        return []
    figures = record.read(path, "prediction/figures.py")
    stale = [name for name, drawn in figures.items() if isinstance(drawn, dict) and any(
        (project / table).is_file() and checksum(project / table) != sha256
        for table, sha256 in drawn.items())]
    return [f"Figures are older than their tables: {', '.join(stale)}; run prediction/figures.py."] if stale else []


def about_stale_models(project, features):
    """Targets whose models were trained with other features than there are now."""
    stale = set()
    for path in [*(project / "results").glob("*_preds/result_*/config.json"),
                 *model_folder.root(project / "results", model_folder.LOW_RANK).glob("*_preds/result_*/config.json")]:
        config = model_folder.read_config(path.parent, model_folder.target_of(path.parts[-3]))
        if config.get("features_sha256", features.sha256) != features.sha256:
            stale.add(config["target"])
    if not stale:
        return []
    return [f"Models were trained with other features than there are now, so their results are out of date: "
            f"{', '.join(sorted(stale))}."]
