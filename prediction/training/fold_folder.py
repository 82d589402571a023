"""The folder of one trained model, results/<target>_preds/result_<outer>_<inner>/: the owner of its format.

    model_trained.pth     state dict (torch.save; load with weights_only=True): first.weight, first.bias, last.*
    config.json           outer, inner, model and everything else that changes the result, with SHA-256 of the data;
                          made_with: device and version of torch, by which numbers differ no more than by rounding
    history.csv           epoch, train_loss, valid_loss, valid_r (direct: valid_accuracy)
    predictions.h5        valid/ and test/: slide_ids, patient_ids, labels, predictions float32 (n_slides, n_outputs);
                          outputs (genes, cell types or pCR)
    correlation.csv       gene (abundance: cell_type), valid_r, test_r, valid_slope, test_slope; over slides
    metrics.csv           direct only: part, auc, average_precision, balanced_accuracy, f1, precision, recall
    loss.pdf, best_preds.pdf
"""
import json
import re

import h5py
import numpy as np
import pandas as pd

from evaluation import association

FOLDERS = {"abundance": "cell_fraction_preds", "direct": "direct_preds"}
SHA256 = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
MADE_WITH = "made_with"  # entry of config.json that is to be known, not compared


def folder(results, target_name, outer, inner):
    """Where the model of one fold is, for a cell type, "abundance" or "direct"."""
    return results / FOLDERS.get(target_name, f"{target_name}_preds") / f"result_{outer}_{inner}"


def is_finished(path, config, file_name="config.json"):
    """Whether a folder is there with this config; ValueError shows the difference when it has another one."""
    if not path.is_dir():
        return False
    try:
        found = json.loads((path / file_name).read_text())
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise ValueError(f"{path / file_name} is missing or damaged ({error}): make the folder again with "
                         "--overwrite") from error
    found.pop(MADE_WITH, None)
    differences = [f"{key}: {shown(found.get(key))} there, {shown(config.get(key))} now"
                   for key in {**found, **config} if found.get(key) != config.get(key)]
    if differences:
        raise ValueError(f"{path} was made with another configuration ({'; '.join(differences)}): keep it and give "
                         "the same options, or make it again with --overwrite")
    return True


def shown(value):
    """A value as text for a message, of checksums the first digits."""
    return SHA256.sub(r"\1...", str(value))


def write(path, config, network, history, outputs, parts):
    """Write the files of a model into the folder `path`, which is made.

    parts : dict of "valid" and "test" to dict of slide_ids, patient_ids, labels, predictions
    """
    import torch

    from training import fold_plots
    path.mkdir(exist_ok=True)
    torch.save({name: tensor.cpu() for name, tensor in network.state_dict().items()}, path / "model_trained.pth")
    (path / "config.json").write_text(json.dumps(config, indent=1))
    pd.DataFrame(history).to_csv(path / "history.csv", index=False)
    with h5py.File(path / "predictions.h5", "w") as file:
        file["outputs"] = np.asarray(outputs, object)
        for name, part in parts.items():
            for key, values in part.items():
                file[f"{name}/{key}"] = np.asarray(values, object) if key.endswith("_ids") else values
    test = parts["test"]
    if config["target"] == "direct":
        table = pd.DataFrame([{"part": name, **response_metrics(part["labels"][:, 0], part["predictions"][:, 0])}
                              for name, part in parts.items()])
        table.to_csv(path / "metrics.csv", index=False)
        best = fold_plots.probabilities(test["labels"][:, 0], test["predictions"][:, 0])
    else:
        table = pd.DataFrame({"cell_type" if config["target"] == "abundance" else "gene": outputs})
        with np.errstate(divide="ignore", invalid="ignore"):
            statistics = {name: association.pearson_and_slope(part["predictions"], part["labels"])
                          for name, part in parts.items()}
        for i, statistic in enumerate(("r", "slope")):
            for name in parts:
                table[f"{name}_{statistic}"] = statistics[name][i]
        table.to_csv(path / "correlation.csv", index=False)
        best = fold_plots.best_predictions(test["labels"], test["predictions"], outputs, table["test_r"].to_numpy())
    fold_plots.save(best, path / "best_preds.pdf")
    fold_plots.save(fold_plots.losses(history), path / "loss.pdf")


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


def read_predictions(path, part):
    """Slide ids, patient ids, outputs, labels, predictions of the part "valid" or "test" of a fold folder."""
    with h5py.File(path / "predictions.h5") as file:
        group = file[part]
        return (group["slide_ids"].asstr()[:].astype(str), group["patient_ids"].asstr()[:].astype(str),
                file["outputs"].asstr()[:].astype(str), group["labels"][:], group["predictions"][:])
