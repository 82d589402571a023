"""Results of a project as the text files that the published scripts write, for notebooks that read those.

    breast_<cell type>_gene_file.csv, cell_types_file.csv    columns gene, cell_types: the columns of the tables below
    results/<..._preds>/result_<outer>_<inner>/
        valid_labels.txt, valid_preds.txt, test_*.txt   a row a slide, a column an output, eight decimals; of the direct
                                                        model _preds are calls (0 or 1, above 0.5), _confs probabilities
        valid_metrics.txt, test_metrics.txt             direct only: precision, recall, f1 (macro), accuracy, balanced
        coef_slope.txt                                  a row an output: R of valid and test, slope of valid and test
        coef_sorted_based_valid.txt, _test.txt          number and name of the output before these, best first
        train_valid_loss.txt                            a row an epoch: losses of training and validation, then
                                                        R and slope of both (nan where they were not recorded);
                                                        direct: accuracies
        valid_slides.txt, test_slides.txt               not of the published scripts: Slide.ID of each row

Source: what the published scripts of Wang et al. 2026 and their copies write. Splits and labels, which they keep in
pickles, are not written.
"""
import numpy as np
from sklearn import metrics

from slide_ex import text_table
from slide_ex.project import model_folder

PREFIX = "breast"     # of the names of files there, whatever the tissue
CALLED = .5           # probability above which the direct model calls a response
EPOCHS = {"direct": ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy")}
EPOCHS_OF_REGRESSION = ("train_loss", "valid_loss", "train_r", "valid_r", "train_slope", "valid_slope")
SORTED = "%8s %22s %8s %8s %8s %8s"
PARTS = "valid", "test"
METRICS = "precision", "recall", "f1", "accuracy", "balanced_acc"


def write_model(source, target, folder):
    """Write the files of one model; `source`: its folder here, `folder`: the new one. Gives its outputs.

    Tables that an imported model does not have are left out.
    """
    folder.mkdir(parents=True)
    for part in PARTS:
        found = model_folder.read_predictions(source, part)
        write_part(folder, part, found.slide_ids, found.labels, found.predictions, target == "direct")
    table = source / "correlation.csv"
    if target != "direct" and table.is_file():
        write_correlations(folder, text_table.read_results(table, model_folder.made_by(target)))
    if (source / "history.csv").is_file():
        history = text_table.read_results(source / "history.csv", model_folder.made_by(target))
        columns = EPOCHS.get(target, EPOCHS_OF_REGRESSION)
        np.savetxt(folder / "train_valid_loss.txt", history.reindex(columns=columns).to_numpy(float), fmt="%.6f")
    return found.outputs


def write_part(folder, part, slide_ids, labels, predictions, is_direct):
    """Labels and predictions of the validation or test slides."""
    (folder / f"{part}_slides.txt").write_text("".join(f"{slide_id}\n" for slide_id in slide_ids), encoding="utf-8")
    if is_direct:
        labels, predictions = labels[:, 0], predictions[:, 0]
        np.savetxt(folder / f"{part}_confs.txt", predictions, fmt="%.8f")
        predictions = (predictions > CALLED).astype(float)
        write_metrics(folder / f"{part}_metrics.txt", part, labels, predictions)
    np.savetxt(folder / f"{part}_labels.txt", labels, fmt="%.8f")
    np.savetxt(folder / f"{part}_preds.txt", predictions, fmt="%.8f")


def write_metrics(path, part, labels, calls):
    """One row of METRICS, averaged over the two classes where there are several ways."""
    of_classes = metrics.precision_recall_fscore_support(labels, calls, average="macro", zero_division=0)[:3]
    recalls = metrics.recall_score(labels, calls, labels=np.unique(labels), average="macro", zero_division=0)
    row = [*of_classes, metrics.accuracy_score(labels, calls), recalls]
    np.savetxt(path, [row], header=" ".join(f"{part}_{name}" for name in METRICS), fmt="%.8f")


def write_correlations(folder, table):
    """R and slope of every output, in their order and sorted."""
    columns = ["valid_r", "test_r", "valid_slope", "test_slope"]
    values = np.array([[f"{value:.4f}" for value in row] for row in table[columns].to_numpy(float)])
    np.savetxt(folder / "coef_slope.txt", values, fmt="%8s")
    for part in PARTS:
        order = np.argsort(-table[f"{part}_r"].to_numpy(float), kind="stable")
        rows = np.column_stack([order.astype(str), table.iloc[order, 0].astype(str), values[order]])
        np.savetxt(folder / f"coef_sorted_based_{part}.txt", rows, fmt=SORTED, encoding="utf-8")
