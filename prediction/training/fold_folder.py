"""What a training script leaves in the folder of one model (format: slide_ex/project/model_folder.py)."""
import numpy as np
import pandas as pd

from evaluation import association
from slide_ex.project import model_folder


def write_history(path, history):
    """Write what the epochs of a network were; history: list of dict, see mlp.fit."""
    from training import fold_plots
    pd.DataFrame(history).to_csv(path / "history.csv", index=False)
    fold_plots.save(fold_plots.losses(history), path / "loss.pdf")


def write(path, config, state, outputs, parts):
    """Write the other files of a model into the folder `path`, which is there; config.json last.

    state : dict of tensors
    parts : dict of "valid" and "test" to dict of slide_ids, patient_ids, labels, predictions
    """
    from training import fold_plots
    test = parts["test"]
    if config["target"] == "direct":
        table = pd.DataFrame([{"part": name, **response_metrics(part["labels"][:, 0], part["predictions"][:, 0])}
                              for name, part in parts.items()])
        table.to_csv(path / "metrics.csv", index=False)
        best = fold_plots.probabilities(test["labels"][:, 0], test["predictions"][:, 0], outputs[0])
    else:
        table = correlations(config["target"], outputs, parts)
        table.to_csv(path / "correlation.csv", index=False)
        best = fold_plots.best_predictions(test["labels"], test["predictions"], outputs, table["test_r"].to_numpy())
    fold_plots.save(best, path / "best_preds.pdf")
    model_folder.write(path, config, state, outputs, parts)


def correlations(target, outputs, parts):
    """One row an output: R and slope on the slides of each part."""
    table = pd.DataFrame({"cell_type" if target == "abundance" else "gene": outputs})
    with np.errstate(divide="ignore", invalid="ignore"):
        statistics = {name: association.pearson_and_slope(part["predictions"], part["labels"])
                      for name, part in parts.items()}
    for i, statistic in enumerate(("r", "slope")):
        for name in parts:
            table[f"{name}_{statistic}"] = statistics[name][i]
    return table


def response_metrics(labels, probabilities):
    """Metrics of probabilities of pCR against 0 / 1 labels; the last four at probability 0.5."""
    from sklearn import metrics
    called = probabilities > 0.5
    one_class = len(np.unique(labels)) < 2
    return {"auc": np.nan if one_class else metrics.roc_auc_score(labels, probabilities),
            "average_precision": np.nan if one_class else metrics.average_precision_score(labels, probabilities),
            "balanced_accuracy": np.nan if one_class else metrics.balanced_accuracy_score(labels, called),
            "f1": metrics.f1_score(labels, called, zero_division=0),
            "precision": metrics.precision_score(labels, called, zero_division=0),
            "recall": metrics.recall_score(labels, called, zero_division=0)}
