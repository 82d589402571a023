"""Compare what was predicted for a demo cohort with the labels that were learned and with the known truth.

R is Pearson's over patients; every patient is predicted by models that never saw it. The labels are deconvolved
from bulk, the truth is what bulk and slides were made from: log2(TPM + 1) of each cell type, and cell fractions. The
same table follows for another demo cohort that the models predicted, then network, low-rank model, their mean and the
baselines beside one another, and the AUC of each predictor of response.

Reads   <project_path>/results/*.csv and predictions.h5, truth/, response/; of the project of --external truth/ and
        predictions/ and response/ of <project_path>'s name
Writes  <project_path>/results/demo_summary.csv, demo_models.csv, demo_response.csv,
        <external>/predictions/<name>/demo_summary.csv; prints them

    python data/summarise_demo.py demo
    python data/summarise_demo.py demo --external demo_hospital2
"""
from pathlib import Path

from slide_ex.script import parser, run, whole

import pandas as pd

from demo_cohort import truth_tables
from slide_ex import text_table

KINDS = ("network", "low-rank", "blend", "ridge", "mean colour")  # of models, in the order of the table


def main(args):
    project, name = args.project_path, args.project_path.resolve().name
    encoder = summarise(project, project / "results", "prediction/collect_results.py")
    responses = {"within": project / "response" / "out_of_fold", "RNA": project / "response" / "rna"}
    if args.external:
        print(f"\n{args.external.name}, by the models of {name}:")
        summarise(args.external, args.external / "predictions" / name, "prediction/predict_cohort.py")
        responses["transfer"] = args.external / "response" / name
    if (project / "results" / "summary.csv").exists():
        print("\nkinds of models, median R in folds (direct: AUC):")
        show(table_of_kinds(project / "results" / "summary.csv"), project / "results" / "demo_models.csv")
    print(f"\n{response_line(project / 'results' / 'direct.csv')}\nfeatures: {encoder}\n")
    responses = {column: folder / "comparison.csv" for column, folder in responses.items()}
    responses = {column: path for column, path in responses.items() if path.exists()}
    if responses:
        show(response_table(responses), project / "results" / "demo_response.csv")
    print()
    for path, content in (("results/demo_summary.csv", "the first table"), ("results", "predictions and all tables"),
                          ("figures", "figures"), ("report.html", "report"), ("mask.pdf", "tiles of every slide"),
                          ("slides", "the slides")):
        if (project / path).exists():
            print(f"{content + ':':28}{project / path}")


def summarise(project, results, written_by):
    """Write and print the table of one cohort, predicted in the folder `results`; the encoder in words."""
    for needed, script in ((project / "truth" / "expression.h5", "data/make_demo_cohort.py"),
                           (results / "predictions.h5", written_by)):
        if not needed.exists():
            raise FileNotFoundError(f"{needed} is missing: run {script} first")
    table, attributes = truth_tables.table(results / "predictions.h5", project / "truth")
    show(table, results / "demo_summary.csv")
    return describe_encoder(attributes)


def show(table, path):
    """Write a table and print it."""
    with whole(path) as part:
        table.to_csv(part, float_format="%.4f")
    print(table.to_string(float_format="%.2f", na_rep="-"))


def table_of_kinds(path):
    """What each of the KINDS of models reached for each target, from summary.csv."""
    summary = text_table.read_results(path, "prediction/collect_results.py")
    summary["kind"] = summary["head"].where(summary["head"] != "", summary["model"])
    summary["quality"] = summary["median_r_in_folds"].fillna(summary.get("auc"))
    table = summary.pivot(index="target", columns="kind", values="quality")
    return table.reindex(index=summary["target"].unique(), columns=KINDS).rename_axis(columns=None)


def response_table(paths):
    """AUC of each set of features, a column for each of `paths`: comparison.csv of a setting of predict_response.py."""
    tables = {column: text_table.read_results(path, "prediction/predict_response.py").set_index(["features", "kind"])
              for column, path in paths.items()}
    table = pd.DataFrame({column: of_setting["auc"] for column, of_setting in tables.items()})
    order = pd.concat(tables.values()).index.unique()
    return table.loc[order].reset_index("kind").rename_axis("AUC of response by").rename(columns=str)


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
    direct = text_table.read_results(path, "prediction/collect_results.py").iloc[0]
    return (f"response (direct model): AUC {direct.auc:.2f} [{direct.auc_low:.2f}, {direct.auc_high:.2f}], "
            f"{direct.n_pcr:.0f} pCR of {direct.n_patients:.0f} patients")


if __name__ == "__main__":
    p = parser(__doc__)
    p.add_argument("--external", type=Path, metavar="PROJECT",
                   help="another demo cohort, predicted by predict_cohort.py with the models of this one")
    run(main, p.parse_args(), "summarise_demo")
