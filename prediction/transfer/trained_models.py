"""The models of a trained project: which folds are finished, what they learnt from, and their weights.

A model bundle (model_bundle.py) gives the same record, so that what applies models does not ask where they lie.
"""
import collections.abc
import dataclasses
import functools
import hashlib
import logging

import numpy as np
import pandas as pd

from slide_ex import checksums, ids, text_table
from slide_ex.ids import counted
from slide_ex.project import features_file, model_folder, predictions_file, splits_file, targets_file
from transfer import known_residuals, training_range

BLEND = "blend"
USES = (*model_folder.MODELS, BLEND)
SAME_FEATURES = ("encoder", "encoder_version", "weights_sha256", "tile_px", "magnification", "normalisation")
TOLD_FEATURES = {"precision": "", "drop": "none", "mask_class": "none"}     # that may differ; what "" means


@dataclasses.dataclass(frozen=True)
class TrainedTarget:
    """The models of one target."""
    name: str                 # cell type, "abundance" or "direct"
    outputs: np.ndarray       # str (n_outputs,)   genes, cell types or "pCR"
    n_models: int             # that were trained and finished
    missing: list             # names of the folds that are not, "result_<outer>_<inner>"
    folds: list               # (outer, inner) of the models whose weights are here; empty where only their mean is
    states: collections.abc.Callable  # folds -> iterator of dict of float32 arrays, one a model (no folds: their mean);
    #                           of each fold one of each kind, in the order of `models`
    pearson_r: pd.Series      # out-of-fold R of each output, empty where results were not collected
    models: tuple = (model_folder.NETWORK,)  # kinds whose mean is the prediction
    half_widths: collections.abc.Callable = lambda: None   # -> intervals.half_widths of the outputs; None where unknown

    @property
    def kind(self):
        """One of USES."""
        return BLEND if len(self.models) > 1 else self.models[0]

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


def add_arguments(parser):
    parser.add_argument("--use", choices=USES, help="which models: network, low-rank, or blend, the mean of both; by "
                        "default all that are trained, or what collect_results.py was told")


def read_project(project, chosen=(), partial=False, use=None):
    """TrainedModels of a project; with `chosen` only of these targets (short forms of cell types are known).

    use : one of USES; None: what collect_results.py was told, else all kinds of models that a target has

    Raises ValueError for missing folds without `partial`, and for models of other features, splits or labels.
    """
    if not (project / "results").is_dir():
        raise FileNotFoundError(f"{project} has neither results/ nor bundle.json: give the folder of a trained project "
                                "or of a bundle (prediction/export_model.py)")
    splits = splits_file.read(project / "splits.json")
    slides = features_file.read_slides(project / "features.h5")
    readers = choose(targets_file.readers(project), chosen, project)
    configs = in_use(finished_folds(project / "results", readers, splits, slides, partial), use or told(project))
    absent = [name for name in readers if chosen and name not in configs]
    if absent:
        raise ValueError(f"{project} has no trained model of {', '.join(absent)}: train them, or choose others")
    targets = {name: read_target(project / "results", name, found, splits) for name, found in configs.items()}
    known = functools.cache(lambda: known_residuals.kinds(project, splits))
    targets = {name: dataclasses.replace(target, half_widths=functools.partial(
        known_residuals.half_widths, project, name, target.outputs, target.kind, known))
        for name, target in targets.items()}
    patients = splits["patients"]
    rows = slides.rows_of(patients)
    weights = [(name, fold, *[model] * (model != model_folder.NETWORK), checksums.of_file(model_folder.folder(
        model_folder.root(project / "results", model), name, *fold) / model_folder.WEIGHTS))
               for name, target in targets.items() for model in target.models for fold in target.folds]
    return TrainedModels(project.resolve().name, slides.attributes, targets, frozenset(map(id_sha256, patients)),
                         training_range.fit(slides.mean_features[rows], slides.patient_ids[rows]),
                         checksums.of_content(weights))


def finished_folds(results, targets, splits, slides, partial):
    """Configurations by target, kind of model and fold; ValueError for missing folds without `partial`, other data.

    targets : dict of name to function that reads the target
    """
    configs, n_missing = {}, 0
    sources = {"features": slides.sha256, "splits": checksums.of_content(splits),
               "colours": checksums.of_content(slides.mean_rgb)}
    for name, read_target_now in targets.items():
        for model in model_folder.MODELS:
            found, absent = model_folder.read_configs(model_folder.root(results, model), name, splits)
            if not found:
                continue
            for source, now in (sources | {"targets": read_target_now().sha256}).items():
                # imported models do not know what their labels were, networks use no colours
                if any(config.get(f"{source}_sha256", now) != now for config in found.values()):
                    raise ValueError(f"models of {name} were trained with other {source} than there are now "
                                     f"(encoder {found[min(found)]['encoder']}): train them again with --overwrite")
            configs.setdefault(name, {})[model] = found
            n_missing += len(absent)
            if absent:
                kind = "" if model == model_folder.NETWORK else f", {model}"
                logging.info(f"{name}{kind}: missing {', '.join(path.name for path in absent)}")
        if name not in configs:
            logging.info(f"{name}: not trained, left out")
    if not configs:
        raise ValueError(f"no trained model in {results}: run 1main_cs_exp_regression.py first")
    if n_missing and not partial:
        raise ValueError(f"{n_missing} models are missing, listed above: train them, or give --partial to do with "
                         "the models there are")
    return configs


def in_use(configs, use):
    """Of what `finished_folds` gives, the kinds of models that a word of USES names; all of them for None.

    ValueError for a target that was not trained in that way.
    """
    wanted = model_folder.MODELS if use in (None, BLEND) else (use,)
    if use:
        lacking = [name for name, of_target in configs.items() if not set(wanted) <= set(of_target)]
        if lacking:
            raise ValueError(f"--use {use}, but not all of its models ({' and '.join(wanted)}) are trained of "
                             f"{counted(lacking)}: train them with --model, or leave --use out")
    return {name: {model: of_target[model] for model in wanted if model in of_target}
            for name, of_target in configs.items()}


def told(project):
    """The --use of the project's collect_results.py; None where it was left out or nothing was collected."""
    path = project / "results" / predictions_file.NAME
    return predictions_file.read_attributes(path).get("use") or None if path.is_file() else None


def common_folds(configs):
    """Folds that all kinds of models of a target have, sorted; configs: dict of kind to dict by fold."""
    return sorted(set.intersection(*map(set, configs.values())))


def choose(targets, chosen, path):
    """The chosen ones of a dict by target, all of them where none is chosen; ValueError names the known ones."""
    names = [ids.cell_type(name, targets) for name in chosen]
    unknown = [name for name in names if name not in targets]
    if unknown:
        raise ValueError(f"no target '{unknown[0]}' in {path}: it has {', '.join(targets)}")
    return {name: target for name, target in targets.items() if name in names or not names}


def read_target(results, name, configs, splits):
    """TrainedTarget of the finished folds of a project; configs: dict of kind of model to dict by fold."""
    folds, models = common_folds(configs), tuple(configs)
    if not folds:
        raise ValueError(f"{name}: no fold has both {' and '.join(models)}: train the others, or choose with --use")
    outputs = model_folder.read_outputs(model_folder.folder(model_folder.root(results, models[0]), name, *folds[0]))
    table_path, r = predictions_file.table_of(results, name), pd.Series(dtype=float)
    if table_path.is_file() and name != "direct":
        key = "cell_type" if name == "abundance" else "gene"
        table = text_table.read_results(table_path, predictions_file.OUT_OF_FOLD_MADE_BY, [key, "pearson_r"])
        r = table.set_index(key)["pearson_r"].reindex(outputs)
    missing = [f"result_{k}_{i}" for k, i in splits_file.numbers(splits) if (k, i) not in folds]
    return TrainedTarget(name, outputs, len(folds) * len(models), missing, folds, lambda chosen: (
        model_folder.read_state(model_folder.folder(model_folder.root(results, model), name, *fold))
        for fold in chosen for model in models), r, models)


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
        is_imported = here.get("weights") == features_file.WEIGHTS_OF_IMPORTS["weights"]
        remedy = ("import features that were extracted as those were" if is_imported else
                  "run slide_processing/1main_processing.py with the same encoder, weights and settings")
        raise ValueError(f"{slides.path} was not made as the features of {models.name} ({'; '.join(different)}): "
                         f"{remedy}")
    if not there["weights_sha256"]:  # of imported features
        logging.info(f"features: the weights of {there['encoder']} were not recorded, take care that they are the same")
    for name, nothing in TOLD_FEATURES.items():
        of_training, of_these = (one.get(name) or nothing for one in (there, here))
        if of_training != of_these:
            logging.warning(f"features: {name} {of_training or 'not recorded'} in training, "
                            f"{of_these or 'not recorded'} here")


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
