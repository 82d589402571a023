"""The models of a trained project: which folds are finished, what they learnt from, and their weights.

A model bundle (model_bundle.py) gives the same record, so that what applies models does not ask where they lie.
"""
import collections.abc
import dataclasses
import hashlib
import logging

import numpy as np
import pandas as pd

from slide_ex import checksums, ids, text_table
from slide_ex.ids import counted
from slide_ex.project import features_file, model_folder, predictions_file, splits_file, targets_file
from transfer import training_range

SAME_FEATURES = ("encoder", "encoder_version", "weights_sha256", "tile_px", "magnification", "normalisation")


@dataclasses.dataclass(frozen=True)
class TrainedTarget:
    """The models of one target."""
    name: str                 # cell type, "abundance" or "direct"
    outputs: np.ndarray       # str (n_outputs,)   genes, cell types or "pCR"
    n_models: int             # that were trained and finished
    missing: list             # names of the folds that are not, "result_<outer>_<inner>"
    folds: list               # (outer, inner) of the models whose weights are here; empty where only their mean is
    states: collections.abc.Callable  # folds -> iterator of dict of float32 arrays, one a model (no folds: their mean)
    pearson_r: pd.Series      # out-of-fold R of each output, empty where results were not collected

    @property
    def head(self):
        """As in model_config.py."""
        return "classification" if self.name == "direct" else "regression"


@dataclasses.dataclass(frozen=True)
class TrainedModels:
    """All models of a project or a bundle."""
    name: str
    attributes: dict           # of the features.h5 that they learnt from: encoder, weights, ...
    targets: dict              # of name to TrainedTarget
    patients_sha256: frozenset  # SHA-256 of the ids of all patients in the folds
    training: training_range.TrainingRange
    sha256: str                # of all weights


def read_project(project, chosen=(), partial=False):
    """TrainedModels of a project; with `chosen` only of these targets (short forms of cell types are known).

    Raises ValueError for missing folds without `partial`, and for models of other features, splits or labels.
    """
    if not (project / "results").is_dir():
        raise FileNotFoundError(f"{project} has neither results/ nor bundle.json: give the folder of a trained project "
                                "or of a bundle (prediction/export_model.py)")
    splits = splits_file.read(project / "splits.json")
    slides = features_file.read_slides(project / "features.h5")
    readers = choose(targets_file.readers(project), chosen, project)
    configs = finished_folds(project / "results", readers, splits, slides, partial)
    absent = [name for name in readers if chosen and name not in configs]
    if absent:
        raise ValueError(f"{project} has no trained model of {', '.join(absent)}: train them, or choose others")
    targets = {name: read_target(project / "results", name, sorted(found), splits) for name, found in configs.items()}
    patients = splits["patients"]
    rows = slides.rows_of(patients)
    weights = [(name, fold, checksums.of_file(
        model_folder.folder(project / "results", name, *fold) / model_folder.WEIGHTS))
               for name, target in targets.items() for fold in target.folds]
    return TrainedModels(project.resolve().name, slides.attributes, targets, frozenset(map(id_sha256, patients)),
                         training_range.fit(slides.mean_features[rows], slides.patient_ids[rows]),
                         checksums.of_content(weights))


def finished_folds(results, targets, splits, slides, partial):
    """Configurations by target and fold; ValueError for missing folds without `partial` and for other data.

    targets : dict of name to function that reads the target
    """
    configs, n_missing = {}, 0
    for name, read_target_now in targets.items():
        found, absent = model_folder.read_configs(results, name, splits)
        if not found:
            logging.info(f"{name}: not trained, left out")
            continue
        for source, now in (("features", slides.sha256), ("splits", checksums.of_content(splits)),
                            ("targets", read_target_now().sha256)):
            # imported models do not know what their labels were
            if any(config.get(f"{source}_sha256", now) != now for config in found.values()):
                raise ValueError(f"models of {name} were trained with other {source} than there are now "
                                 f"(encoder {found[min(found)]['encoder']}): train them again with --overwrite")
        configs[name] = found
        n_missing += len(absent)
        if absent:
            logging.info(f"{name}: missing {', '.join(path.name for path in absent)}")
    if not configs:
        raise ValueError(f"no trained model in {results}: run 1main_cs_exp_regression.py first")
    if n_missing and not partial:
        raise ValueError(f"{n_missing} models are missing, listed above: train them, or give --partial to do with "
                         "the models there are")
    return configs


def choose(targets, chosen, path):
    """The chosen ones of a dict by target, all of them where none is chosen; ValueError names the known ones."""
    names = [ids.cell_type(name, targets) for name in chosen]
    unknown = [name for name in names if name not in targets]
    if unknown:
        raise ValueError(f"no target '{unknown[0]}' in {path}: it has {', '.join(targets)}")
    return {name: target for name, target in targets.items() if name in names or not names}


def read_target(results, name, folds, splits):
    """TrainedTarget of the finished folds of a project."""
    outputs = model_folder.read_outputs(model_folder.folder(results, name, *folds[0]))
    table_path, r = results / (f"{name}.csv" if name == "abundance" else f"{name}_genes.csv"), pd.Series(dtype=float)
    if table_path.is_file():
        key = "cell_type" if name == "abundance" else "gene"
        table = text_table.read_results(table_path, predictions_file.OUT_OF_FOLD_MADE_BY, [key, "pearson_r"])
        r = table.set_index(key)["pearson_r"].reindex(outputs)
    missing = [f"result_{k}_{i}" for k, i in splits_file.numbers(splits) if (k, i) not in folds]
    return TrainedTarget(name, outputs, len(folds), missing, folds, lambda chosen: (
        model_folder.read_state(model_folder.folder(results, name, *fold)) for fold in chosen), r)


def first_inner(target):
    """Of each outer fold the first model there is; ValueError where only the mean of all models is known."""
    if not target.folds:
        raise ValueError(f"the bundle has only the mean of the models of {target.name}: leave out --outer-only, or "
                         "export again with --all-models")
    return [min(fold for fold in target.folds if fold[0] == outer) for outer in sorted({k for k, _ in target.folds})]


def refuse_other_features(models, slides):
    """ValueError when the features of a cohort were not made as those that the models learnt from."""
    there, here = models.attributes, slides.attributes
    different = [f"{name}: {there.get(name, 'not recorded')} there, {here.get(name, 'not recorded')} here"
                 for name in SAME_FEATURES if there.get(name) != here.get(name)]
    n_there, n_here = len(models.training.mean), slides.mean_features.shape[1]
    if n_there != n_here:  # of an imported encoder whose name was given wrongly
        different.append(f"numbers a tile: {n_there} there, {n_here} here")
    if different:
        raise ValueError(f"{slides.path} was not made as the features of {models.name} ({'; '.join(different)}): run "
                         "slide_processing/1main_processing.py with the same encoder, weights and settings")
    if not there["weights_sha256"]:  # of imported features
        logging.info(f"features: the weights of {there['encoder']} were not recorded, take care that they are the same")
    if there.get("precision") != here.get("precision"):
        logging.info(f"features: precision {there.get('precision')} in training, {here.get('precision')} here")


def refuse_shared_patients(models, slides):
    """ValueError when the models learnt from patients of this cohort: their predictions would be too good."""
    shared = [patient for patient in np.unique(slides.patient_ids) if id_sha256(patient) in models.patients_sha256]
    if shared:
        raise ValueError(f"{models.name} was trained on patients of this cohort: {counted(shared)}; if "
                         "it is the same project, results/predictions.h5 has them out of fold and maps need no "
                         "--models; else take them out of metadata.csv (or give them ids of their own if they are "
                         "other people) and collect the features again")


def id_sha256(patient_id):
    return hashlib.sha256(patient_id.encode()).hexdigest()
