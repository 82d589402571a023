"""Compare what was predicted for a demo cohort with the labels that were learned and with the known truth.

R is Pearson's over patients; every patient is predicted by models that never saw it. The labels are deconvolved
from bulk, the truth is what bulk and slides were made from: log2(TPM + 1) of each cell type, and cell fractions.

Reads   <project_path>/results/*.csv and predictions.h5, truth/
Writes  <project_path>/results/demo_summary.csv; prints it

    python data/summarise_demo.py demo
"""
import h5py
import numpy as np
import pandas as pd

from data_script import parser, run, whole

N_TOP_GENES = 100
ROBUST_R = .4


def main(args):
    project = args.project_path
    for needed, script in (("truth/expression.h5", "data/make_demo_cohort.py"),
                           ("results/predictions.h5", "prediction/collect_results.py")):
        if not (project / needed).exists():
            raise FileNotFoundError(f"{project / needed} is missing: run {script} first")
    with h5py.File(project / "results" / "predictions.h5") as predictions, \
            h5py.File(project / "truth" / "expression.h5") as truth:
        rows = {name: expression_row(group, truth, name) for name, group in predictions.get("expression", {}).items()}
        if "abundance" in predictions:
            fractions = pd.read_csv(project / "truth" / "fractions.tsv", sep="\t", index_col=0)
            for name, row in abundance_rows(predictions["abundance"], fractions).items():
                rows.setdefault(name, {}).update(row)
        encoder = describe_encoder(predictions.attrs)
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("cell type").sort_index()
    counts = table.columns.intersection(["genes", f"genes R > {ROBUST_R:g}"])
    table = table.astype(dict.fromkeys(counts, "Int64"))  # which may be missing, for a cell type without a model
    with whole(project / "results" / "demo_summary.csv") as part:
        table.to_csv(part, float_format="%.4f")
    print(table.to_string(float_format="%.2f", na_rep="-"))
    print(f"\n{response_line(project / 'results' / 'direct.csv')}\nfeatures: {encoder}\n")
    for name, content in (("results/demo_summary.csv", "this table"), ("results", "predictions and all tables"),
                          ("figures", "figures"), ("mask.pdf", "tiles of every slide"), ("slides", "the slides")):
        if (project / name).exists():
            print(f"{content + ':':28}{project / name}")


def expression_row(group, truth, cell_type):
    """Row of one cell type: R of its genes, over the patients of `group`, against labels and truth."""
    genes, patient_ids, predicted, labels = read(group, "genes")
    unknown = sorted(set(patient_ids) - set(strings(truth, "patient_ids")))
    if unknown:
        raise ValueError(f"results/ predicts patients without a truth, e.g. {unknown[:3]}: it is of another cohort, "
                         "run the stages again with --overwrite")
    k = strings(truth, "cell_types").index(cell_type)
    known = pd.DataFrame(truth["expression"][k], strings(truth, "genes"), strings(truth, "patient_ids")).T
    r_labels = correlate(predicted, labels)
    r_truth = correlate(predicted, np.log2(known.loc[patient_ids, genes].to_numpy() + 1))
    return {"genes": len(genes), "median R labels": np.nanmedian(r_labels), "median R truth": np.nanmedian(r_truth),
            f"R truth top {N_TOP_GENES}": np.nanmedian(np.sort(r_truth[np.isfinite(r_truth)])[-N_TOP_GENES:]),
            f"genes R > {ROBUST_R:g}": int((r_labels > ROBUST_R).sum())}


def abundance_rows(group, fractions):
    """Row of each cell type: R of its fraction against labels and truth."""
    cell_types, patient_ids, predicted, labels = read(group, "cell_types")
    r_labels = correlate(predicted, labels)
    r_truth = correlate(predicted, fractions.loc[patient_ids, cell_types].to_numpy())
    return {name: {"abundance R labels": r_labels[i], "abundance R truth": r_truth[i]}
            for i, name in enumerate(cell_types)}


def read(group, columns):
    """Names of the columns, patient ids, predictions and labels (n_patients, n_columns) of a group."""
    return strings(group, columns), strings(group, "patient_ids"), group["predictions"][:], group["labels"][:]


def strings(group, name):
    return group[name].asstr()[:].tolist()


def correlate(a, b):
    """Pearson R of each column of a with that of b; NaN where one is constant."""
    a, b = (x.astype(float) - x.mean(0, dtype=float) for x in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(0) / np.sqrt((a ** 2).sum(0) * (b ** 2).sum(0))


def describe_encoder(attributes):
    """The encoder and its weights in words."""
    weights = attributes.get("weights", "unknown")
    if weights == "random":
        return f"random convolution features ({attributes['encoder']}, no trained weights)"
    return f"{attributes['encoder']}, weights {weights}"


def response_line(path):
    """What the direct model reached, if it was trained."""
    if not path.exists():
        return "response: not predicted"
    direct = pd.read_csv(path).iloc[0]
    return (f"response (direct model): AUC {direct.auc:.2f} [{direct.auc_low:.2f}, {direct.auc_high:.2f}], "
            f"{direct.n_pcr:.0f} pCR of {direct.n_patients:.0f} patients")


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args(), "summarise_demo")
