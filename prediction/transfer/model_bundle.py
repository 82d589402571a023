"""A trained project in one folder that can be given away: the owner of the format of bundles.

    bundle.json                   format, version, name, licence, features (attributes of features.h5: encoder, weights,
                                  tile_px, ...), targets (by name: outputs, n_models, missing folds, folds whose weights
                                  are here, pearson_r out of fold, half_width_90 of intervals (evaluation/intervals.py)
                                  where they are known, models where there are low-rank ones), training
                                  (n_patients, n_slides, n_tiles, labels, out_of_fold, ...), all_models, versions,
                                  patients_sha256 (of the ids of the training patients), models_sha256, files (SHA-256
                                  of each .safetensors), record_sha256 (of bundle.json itself, record.py)
    <target>.safetensors          weight float32 (n_outputs, n_features), bias (n_outputs,): the mean of all models of a
                                  regression; y = weight x + bias for the mean feature x of a slide, followed by its
                                  mean red, green and blue (0..255) where weight has three columns more.
                                  Of `direct`, and with --all-models of every target, each model's layers:
                                  <outer>_<inner>.first.weight (hidden, n_features), .first.bias, .last.weight, ...
                                  and of low-rank models <outer>_<inner>.low-rank.first.weight, ... (direct: weight,
                                  bias)
                                  Metadata: target, and outputs_sha256 of the names of its outputs in order
    training_range.safetensors    the fields of training_range.TrainingRange, float64
    README.md                     model card
"""
import dataclasses

import numpy as np
import pandas as pd
import safetensors
import safetensors.numpy

from evaluation import intervals
from slide_ex import checksums, ids, record
from slide_ex.ids import counted
from slide_ex.project import model_folder
from training import linear_head
from transfer import trained_models, training_range

NETWORKS = (model_folder.NETWORK,)
FORMAT, VERSION = "slide-ex bundle", 1
CONTENT, CARD = "bundle.json", "README.md"
NEEDED = "files", "name", "targets", "features", "patients_sha256"    # entries of bundle.json that readers use


def is_bundle(path):
    return (path / CONTENT).is_file()


def is_part_of_one(path):
    """Whether a folder holds nothing but what a bundle has, such as one of which files are gone."""
    return path.is_dir() and all(file.name in (CONTENT, CARD) or file.suffix == ".safetensors"
                                 for file in path.iterdir())


def is_whole(path):
    """Whether a folder is a bundle and all files that it lists are there."""
    if not is_bundle(path):
        return False
    listed = record.read(path / CONTENT, "prediction/export_model.py").get("files", {})
    return all((path / name).is_file() for name in (CARD, *listed))


def write(path, models, facts):
    """Write a bundle into the folder `path`, which is there and empty; README.md is not written here.

    models : trained_models.TrainedModels
    facts : dict of name, licence, training, all_models, models_sha256 and versions, for bundle.json
    """
    targets = {}
    for name, target in models.targets.items():
        folds = target.folds if facts["all_models"] or target.head == "classification" else []
        tensors = {f"{prefix(fold, model)}{layer}": values for fold in folds
                   for model, state in zip(target.models, target.states([fold])) for layer, values in state.items()}
        if target.head == "regression":
            mean = linear_head.mean_matrix(target.states(target.folds))
            tensors |= {layer: values.astype(np.float32) for layer, values in mean.items()}
        tensors = {layer: np.ascontiguousarray(values) for layer, values in tensors.items()}  # strides are not saved
        (path / f"{name}.safetensors").write_bytes(safetensors.numpy.save(tensors, whose(name, target.outputs)))
        r = [value if np.isfinite(value) else None for value in target.pearson_r.round(6)]  # JSON has no NaN
        targets[name] = {"outputs": target.outputs.tolist(), "n_models": target.n_models, "missing": target.missing,
                         "folds": folds, "pearson_r": r}
        widths = target.half_widths()
        if widths is not None:
            targets[name][intervals.NAME] = [float(f"{width:.6g}") for width in widths]
        if target.models != NETWORKS:
            targets[name]["models"] = list(target.models)
    (path / "training_range.safetensors").write_bytes(safetensors.numpy.save(dataclasses.asdict(models.training)))
    files = {file.name: checksums.of_file(file) for file in sorted(path.glob("*.safetensors"))}
    content = {"format": FORMAT, "version": VERSION, **facts, "features": models.attributes, "targets": targets,
               "patients_sha256": sorted(models.patients_sha256), "files": files}
    (path / CONTENT).write_text(record.text(content), encoding="utf-8")


def whose(name, outputs):
    """What a file of weights says of itself: its target, and which outputs its rows are, in order."""
    return {"target": name, "outputs_sha256": checksums.of_content(list(map(str, outputs)))}


def read_any(path, chosen=(), partial=False, use=None):
    """TrainedModels of a bundle or of a trained project; ValueError for --use with a bundle, where it was chosen."""
    if not is_bundle(path):
        return trained_models.read_project(path, chosen, partial, use)
    if use:
        raise ValueError(f"{path} is a bundle, whose models were chosen when it was exported: leave out --use")
    return read(path, chosen, partial)


def read(path, chosen=(), partial=False):
    """TrainedModels of a bundle; with `chosen` only of these targets (short forms of cell types are known).

    Raises ValueError for a file that is missing or not as it was exported, and for models that were missing when it
    was exported, without `partial`.
    """
    content = read_content(path)
    described = trained_models.choose(content["targets"], chosen, path)
    missing = [f"{name} {fold}" for name, target in described.items() for fold in target["missing"]]
    if missing and not partial:
        raise ValueError(f"{path} was exported without {counted(missing)}: give --partial to do with the "
                         "models there are")
    targets = {name: read_target(path, name, target) for name, target in described.items()}
    training = training_range.TrainingRange(**safetensors.numpy.load_file(path / "training_range.safetensors"))
    return trained_models.TrainedModels(content["name"], content["features"], targets,
                                        frozenset(content["patients_sha256"]), training,
                                        checksums.of_content(content["files"], sorted(targets)))


def read_content(path):
    """bundle.json as a dict, after a check of all files that it lists."""
    try:
        content = record.read(path / CONTENT, "prediction/export_model.py")
        known = (content["format"], content["version"]) == (FORMAT, VERSION)
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path / CONTENT} is damaged, or was edited: get the bundle again") from None
    if not known:
        raise ValueError(f"{path / CONTENT} is not of version {VERSION} of the format: export the bundle again")
    if absent := [name for name in NEEDED if name not in content]:
        raise ValueError(f"{path / CONTENT} is damaged, or was edited (no {', '.join(absent)}): get the bundle again")
    listed = content["files"]
    ids.refuse_unsafe([content["name"], *content["targets"], *listed], "the name", path / CONTENT)
    for name in [*listed, *(f"{target}.safetensors" for target in content["targets"]), "training_range.safetensors"]:
        if not (path / name).is_file():
            raise ValueError(f"{path / name} is missing: get the bundle again")
        if checksums.of_file(path / name) != listed.get(name):
            raise ValueError(f"{path / name} is not as it was exported (SHA-256): get the bundle again")
    return content


def read_target(path, name, described):
    """trained_models.TrainedTarget of one target of a bundle."""
    folds, models = [tuple(fold) for fold in described["folds"]], tuple(described.get("models", NETWORKS))

    weights, n_outputs = path / f"{name}.safetensors", len(described["outputs"])
    widths = described.get(intervals.NAME)

    def states(chosen):
        with safetensors.safe_open(weights, "numpy") as file:
            said = file.metadata()
            if said and said != whose(name, described["outputs"]):
                raise ValueError(f"{weights} holds the weights of {said.get('target')}, or of other outputs than "
                                 f"{CONTENT} says: get the bundle again")
            keys = [{layer: f"{prefix(fold, model)}{layer}" for layer in model_folder.layers(name, model)}
                    for fold in chosen for model in models] or [{layer: layer for layer in model_folder.ONE_MATRIX}]
            for of_model in keys:
                try:
                    yield model_folder.checked_state({layer: file.get_tensor(key) for layer, key in of_model.items()},
                                                     n_outputs)
                except (ValueError, safetensors.SafetensorError) as error:
                    raise ValueError(f"{weights} is damaged ({error}): get the bundle again") from None
    return trained_models.TrainedTarget(name, np.array(described["outputs"]), described["n_models"],
                                        described["missing"], folds, states,
                                        pd.Series(described["pearson_r"], described["outputs"], dtype=float).dropna()
                                        if described["pearson_r"] else pd.Series(dtype=float), models,
                                        lambda: None if widths is None else np.array(widths))


def prefix(fold, model):
    """What the names of a model's layers begin with."""
    outer, inner = fold
    return f"{outer}_{inner}." if model == model_folder.NETWORK else f"{outer}_{inner}.{model}."
