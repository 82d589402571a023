"""Figure 2 within the cohort: how well genes are predicted, by cell type, beside the other models and baselines."""
import matplotlib.pyplot as plt
import numpy as np

from drawing import captions, marks, style
from drawing.marks import BLUE, GREY, ORANGE
from evaluation import result_tables
from slide_ex import text_table
from slide_ex.project import predictions_file

MADE_BY = "prediction/collect_results.py"
ROBUST_R, N_BEST_GENES = result_tables.R_THRESHOLDS[0], result_tables.N_TOP_GENES
ROBUST_COUNT = f"n_r_above_{ROBUST_R:.2f}"
INTERVAL = f"n_r_{ROBUST_R:.2f}_low", f"n_r_{ROBUST_R:.2f}_high"
POINT_IN, ROW_IN = 0.055, 0.3  # height of a point, of a row at least
OWN, IN_FOLDS = "slide-ex", "slide-ex in folds"    # R of the model over all patients, and within outer folds
KEY_IN = 1.25                  # height of titles, axis labels and keys


def predictability(project):
    """Distribution of R, genes above each R, medians of all models, and their paired difference to the mean colour."""
    summary, model = read_summary(project / "results")
    names = style.by_value(model["median_r"])
    model = model.loc[names]
    genes = {target: read_genes(project / "results", target)["pearson_r"].dropna() for target in names}
    models = {name: of_model.set_index("target").reindex(names) for name, of_model in summary.groupby(
        "model", sort=False)}
    models = {name: models[name] for name in sorted(models, key=list(marks.MARKS).index)}
    paired = {name: table for name, table in models.items()
              if "minus_colour" in table and table["minus_colour"].notna().any()}
    n_panels, of_medians = 4 if paired else 3, medians_of(models)
    figure, axes = plt.subplots(1, n_panels, sharey=True, width_ratios=[1.7, 0.9, 1.2, 1.2][:n_panels], figsize=(
        style.PAGE_WIDTH_IN, KEY_IN + max(ROW_IN, POINT_IN * (len(of_medians) + 1)) * len(names)))
    rows = style.name_rows(axes[0], [f"{target} ({len(r):,})" for target, r in genes.items()])
    texts = [distributions(axes[0], rows, genes), counts(axes[1], rows, model)]
    drawn = {name: marks.of(name) for name in of_medians}
    texts.append(medians(axes[2], rows, of_medians, drawn))
    if paired:
        texts.append(differences(axes[3], rows, paired, drawn))
    for axis in axes:
        style.bands(axis, rows)
    figure.legend(handles=axes[1].containers, loc="outside lower left", ncols=5, title="b: genes with R above",
                  handlelength=1, columnspacing=1)
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside lower right", ncols=4,
                  title="c, d: median R, 95 % interval" if paired else "c: median R, 95 % interval", columnspacing=1)
    return style.Drawn(figure, "Gene expression by cell type, predicted from slides, out of fold", list(zip(
        axes, texts)), f"n = {captions.spread(model['n_patients'])} patients. Cell types are ordered by the median R "
        "of SLIDE-EX, bulk last. All intervals are 95 % percentiles over resampled patients; resampling adds its own "
        "scatter, so that intervals of counts lean upwards. No test is made in this figure.")


def distributions(axis, rows, genes):
    """Violins of R; two halves where a cell type has more genes than the best ones that count. What it shows."""
    for row, r in zip(rows, genes.values()):
        if len(r) > N_BEST_GENES:
            violin(axis, r, row, BLUE, "high")
            violin(axis, r.nlargest(N_BEST_GENES), row, ORANGE, "low")
        else:
            violin(axis, r, row, BLUE, "both")
    axis.axvline(ROBUST_R, color="black", linestyle=":", linewidth=0.8)
    axis.set(xlabel="Pearson R over patients", title="R of each gene (genes)")
    medians = captions.listed(f"{name} {captions.number(r.median())} ({captions.counted(len(r), 'gene')})"
                              for name, r in genes.items() if len(r))
    halves = (f" Where there are more than {N_BEST_GENES:,} genes, the upper half (blue) is of all genes, the lower "
              f"half (orange) of the {N_BEST_GENES:,} with the highest R." if max(map(len, genes.values()))
              > N_BEST_GENES else "")
    return (f"Distribution over genes of Pearson's R between predicted and deconvolved expression.{halves} Black: "
            f"median and quartiles. Dotted: R = {ROBUST_R}, above which a gene is called robustly predicted. Median "
            f"R: {medians}.")


def violin(axis, values, row, colour, side):
    """Density of values in a row or on one side of it, with quartiles; points where there are too few for a density."""
    place = row + {"high": 0.08, "low": -0.08, "both": 0}[side]
    if len(values) < 3 or values.nunique() < 3:
        axis.plot(values, np.full(len(values), place), ".", color=colour, markersize=3)
        return
    body = axis.violinplot([values], positions=[row], orientation="horizontal", side=side, widths=0.85,
                           showextrema=False)["bodies"][0]
    body.set(facecolor=colour, alpha=0.7, linewidth=0)
    axis.plot(np.percentile(values, [25, 50, 75]), np.full(3, place), color="black", marker="|", markersize=3)


def counts(axis, rows, model):
    """Bars on bars of the numbers of genes above each R, with the interval of the first. What it shows."""
    above = model.filter(like="n_r_above_")  # ascending R, so that each narrower bar lies on the wider ones
    for column, shade in zip(above, plt.get_cmap("Blues")(np.linspace(0.25, 1, above.shape[1]))):
        axis.barh(rows, above[column], 0.7, color=shade, label=column.removeprefix("n_r_above_"))
    axis.hlines(rows, model[INTERVAL[0]], model[INTERVAL[1]], color="black", linewidth=0.8)
    axis.set(xlabel="Genes", title="Genes above R")
    axis.locator_params(axis="x", nbins=3, integer=True)
    return (f"Genes with R above each value; line: 95 % interval of the number above {ROBUST_R}: " + captions.listed(
        f"{name} {captions.interval(row[ROBUST_COUNT], *row[list(INTERVAL)], 0)}" for name, row in model.iterrows())
        + ".")


def medians_of(models):
    """Median R of each model, dict of name to its `columns`; of the model itself R in folds, too, where it is known."""
    shown = {name: columns(table, "median_r") for name, table in models.items()}
    in_folds = columns(models[OWN], "median_r_in_folds") if OWN in models else None
    if in_folds is None or in_folds["value"].isna().all():
        return shown
    return {OWN: shown.pop(OWN), IN_FOLDS: in_folds, **shown}


def medians(axis, rows, shown, drawn):
    """Median R of each model with its interval, as `medians_of` gives them. What it shows."""
    style.points(axis, rows, shown, drawn)
    axis.axvline(0, color=GREY, linewidth=0.5)
    axis.set(xlabel="Median R over genes", title="Models and baselines")
    of_folds, open_symbols = "", "Open symbols"
    if IN_FOLDS in shown:
        said = captions.listed(f"{name} {captions.interval(*row)}" for name, row in shown[IN_FOLDS].dropna(
            subset="value").iterrows())
        of_folds = ("Open circles: SLIDE-EX with predictions and labels centred in each outer fold, because R over all "
                    f"patients is biased where folds differ in level: {said}. ")
        open_symbols = "Other open symbols"
    return (f"Median R over genes of {captions.listed(drawn[name].label for name in shown if name != IN_FOLDS)}, with "
            f"95 % intervals. {of_folds}{open_symbols} and crosses: baselines.")


def differences(axis, rows, models, drawn):
    """Median R within folds minus that of the mean colour, over the same resampled patients. What it shows."""
    style.points(axis, rows, {name: columns(table, "minus_colour") for name, table in models.items()}, drawn)
    axis.axvline(0, color="black", linewidth=0.6)
    axis.set(xlabel="Median R minus that\nof the mean colour", title="Paired differences")
    own = models.get(OWN)
    if own is None:
        return "Median R minus that of the mean colour of a slide."
    said = captions.listed(f"{name} {captions.interval(*row)}" for name, row in columns(
        own, "minus_colour").dropna().iterrows())
    return ("Median R within folds minus that of a ridge on the mean colour of a slide, 95 % interval over the same "
            f"resampled patients. An interval that includes 0 says that three numbers may do as well. SLIDE-EX: "
            f"{said}.")


def columns(table, statistic):
    """A statistic of summary.csv and its interval, as columns value, low, high; NaN where an interval is not known."""
    names = {statistic: "value", f"{statistic}_low": "low", f"{statistic}_high": "high"}
    return table.reindex(columns=list(names)).rename(columns=names)


def read_genes(results, target):
    """The table of a cell type's genes."""
    return text_table.read_results(predictions_file.table_of(results, target), MADE_BY)


def read_summary(results):
    """Rows of summary.csv whose targets have a table of genes, and those of the model alone, by target."""
    summary = text_table.read_results(results / "summary.csv", MADE_BY)
    summary = summary[summary["target"].isin(predictions_file.tables_of_genes(results).keys())]
    return summary, summary[summary["model"] == OWN].set_index("target")
