"""results/<target>_preds/result_<outer>_<inner>/, one trained network; the same in results/low_rank/, a low-rank model.

    model_trained.pth     state dict (torch.save; load with weights_only=True): first.weight, first.bias, last.*
    config.json           outer, inner, model and everything else that changes the result, with SHA-256 of the data;
                          files_sha256 of the weights and tables (record.py), compared when they are read;
                          made_with: device and version of torch, by which numbers differ no more than by rounding
    history.csv           epoch, train_loss, valid_loss, valid_r (direct: valid_accuracy)
    predictions.h5        valid/ and test/: slide_ids, patient_ids, labels, predictions float32 (n_slides, n_outputs);
                          outputs (genes, cell types or pCR)
    correlation.csv       gene (abundance: cell_type), valid_r, test_r, valid_slope, test_slope; over slides
    metrics.csv           direct only: part, auc, average_precision, balanced_accuracy, f1, precision, recall
    loss.pdf, best_preds.pdf

A low-rank model has choice.csv in the place of history.csv and loss.pdf: colour_weight, penalty, rank, valid_r of every
candidate in the outer fold. Its state dict has the same layers with as many hidden units as its rank; first.weight has
three more columns where it uses the mean colour. Of direct it is weight (1, n_inputs) and bias, of the logit.

Imported models have the first three of IMPORTED and "imported" in config.json.
"""
import typing

import numpy as np

from slide_ex import checksums, hdf5, record

FOLDERS = {"abundance": "cell_fraction_preds", "direct": "direct_preds"}
OF_DATA = ("target", "outer", "inner", "encoder", "features_sha256", "targets_sha256", "splits_sha256")
MADE_WITH = "made_with"  # entry of config.json that is to be known, not compared
CONFIG, WEIGHTS, PREDICTIONS = "config.json", "model_trained.pth", "predictions.h5"
IMPORTED = (WEIGHTS, PREDICTIONS, CONFIG)
TRAINED = {"network": ("history.csv", "loss.pdf", "best_preds.pdf", *IMPORTED),
           "low-rank": ("choice.csv", "best_preds.pdf", *IMPORTED)}
NETWORK, LOW_RANK = MODELS = tuple(TRAINED)
BOTH = "both"            # as an argument
LAYERS = ("first.weight", "first.bias", "last.weight", "last.bias")
ONE_MATRIX = ("weight", "bias")
MADE_BY = {"abundance": "prediction/1main_abundance_regression.py", "direct": "prediction/1main_direct.py"}
EXPRESSION_MADE_BY = "prediction/1main_cs_exp_regression.py"


def kinds(word):
    """Kinds of models that an argument stands for: one of MODELS or BOTH."""
    return MODELS if word == BOTH else (word,)


def root(results, model):
    """Where the folders of the models of a kind are, for the folder results/ of a project."""
    return results if model == NETWORK else results / model.replace("-", "_")


def folder(results, target, outer, inner):
    """Where the model of one fold is, for a cell type, "abundance" or "direct"; results: see `root`."""
    return results / FOLDERS.get(target, f"{target}_preds") / f"result_{outer}_{inner}"


def of_target(results, model, target):
    """The folder of all models of a kind of a target, for the folder results/ of a project."""
    return folder(root(results, model), target, 0, 0).parent


def target_of(folder_name):
    """The target that a folder of results/ holds the models of: 'CAFs_preds' is CAFs."""
    of_name = {name: target for target, name in FOLDERS.items()}
    return of_name.get(folder_name, folder_name.removesuffix("_preds"))


def made_by(target):
    return MADE_BY.get(target, EXPRESSION_MADE_BY)


def files(target, is_imported=False, model=NETWORK):
    """Names of the files of a model's folder, config.json last."""
    table = "metrics.csv" if target == "direct" else "correlation.csv"
    return IMPORTED if is_imported else (table, *TRAINED[model])


def model_of(config):
    """The kind of a model, by its config.json."""
    return config.get("model", NETWORK)


def layers(target, model):
    """Names of the weights of a model."""
    return ONE_MATRIX if (target, model) == ("direct", LOW_RANK) else LAYERS


def read_config(path, target):
    """config.json of a model's folder; ValueError where it is missing or damaged."""
    try:
        return record.read(path / CONFIG, made_by(target))
    except FileNotFoundError as error:
        raise ValueError(f"{error} with --overwrite") from None


def is_finished(path, config, overwrite=False):
    """Whether the folder is there, whole, with this config; ValueError shows the difference when it has another one."""
    if overwrite or not (path / CONFIG).is_file():
        return False
    target = config["target"]
    made = read_config(path, target)
    made.pop(MADE_WITH, None)
    is_imported = made.get("imported", False)
    if is_imported:  # how it was trained is not known here, and no option of ours would make it again
        made, config = ({name: values.get(name) for name in made if name in OF_DATA} for values in (made, config))
    record.refuse_other(path, made, config)
    return all((path / name).is_file() for name in files(target, is_imported, model_of(config)))


def write(path, config, state, outputs, parts):
    """Write weights, predictions and config, the record of these and the tables that are there, into the folder `path`.

    state : dict of tensors
    parts : dict of "valid" and "test" to dict of slide_ids, patient_ids, labels, predictions
    """
    import torch
    torch.save({name: tensor.cpu() for name, tensor in state.items()}, path / WEIGHTS)
    with hdf5.writing(path / PREDICTIONS) as file:
        hdf5.write_strings(file, "outputs", outputs)
        for name, part in parts.items():
            group = file.create_group(name)
            for key, values in part.items():
                if key.endswith("_ids"):
                    hdf5.write_strings(group, key, values)
                else:
                    hdf5.write_array(group, key, values)
    files = [*sorted(path.glob("*.csv")), path / WEIGHTS]
    (path / CONFIG).write_text(record.text(config, files, path), encoding="utf-8")


class OfFold(typing.NamedTuple):
    """What a model predicts of the validation or test slides of its fold."""
    slide_ids: np.ndarray       # str (n_slides,)
    patient_ids: np.ndarray     # str (n_slides,)
    outputs: np.ndarray         # str (n_outputs,)
    labels: np.ndarray          # float32 (n_slides, n_outputs)
    predictions: np.ndarray     # float32 (n_slides, n_outputs)


def read_predictions(path, part):
    """OfFold of the part "valid" or "test" of a model's folder."""
    with hdf5.reading(path / PREDICTIONS, made_by(target_of(path.parent.name))) as file:
        group = file[part]
        return OfFold(hdf5.strings(group, "slide_ids"), hdf5.strings(group, "patient_ids"),
                      hdf5.strings(file, "outputs"), group["labels"][:], group["predictions"][:])


def read_outputs(path):
    """What the model predicts; str array."""
    with hdf5.reading(path / PREDICTIONS, made_by(target_of(path.parent.name))) as file:
        return hdf5.strings(file, "outputs")


def read_state(path):
    """Weights of a model, float32 arrays by name: first.weight (hidden, n_inputs), first.bias, last.*; or ONE_MATRIX"""
    import torch
    check_weights(path)
    model, target = model_at(path), target_of(path.parent.name)
    try:
        state = torch.load(path / WEIGHTS, map_location="cpu", weights_only=True)
        return checked_state({name: state[name].numpy() for name in layers(target, model)})
    except Exception as error:  # torch reports missing, unsafe and broken files in many ways
        raise ValueError(f"{path / WEIGHTS} is damaged ({str(error).splitlines()[0]}): train the model again with "
                         f"{made_by(target_of(path.parent.name))} --overwrite") from None


def model_at(path):
    """The kind of model that a folder is the place of."""
    return LOW_RANK if path.parents[1].name == root(path, LOW_RANK).name else NETWORK


def checked_state(state, n_outputs=None):
    """Weights by name, as they are; ValueError for what is no linear model or network of finite float32 numbers.

    n_outputs : int, where it is known
    """
    odd = [f"{name} of type {values.dtype}" for name, values in state.items() if values.dtype != "float32"]
    odd = odd or [f"{name} is not finite" for name, values in state.items() if not np.isfinite(values).all()]
    if odd:
        raise ValueError(", ".join(odd))
    matrices, biases = ([values for name, values in state.items() if name.endswith(end)] for end in ("weight", "bias"))
    fits = (all(matrix.ndim == 2 for matrix in matrices) and all(bias.ndim == 1 for bias in biases)
            and [len(matrix) for matrix in matrices] == [len(bias) for bias in biases]
            and all(len(before) == after.shape[1] for before, after in zip(matrices, matrices[1:]))
            and n_outputs in (None, len(biases[-1])))
    if not fits:
        raise ValueError("layers of shape " + ", ".join(str(values.shape) for values in state.values())
                         + (f" for {n_outputs} outputs" if n_outputs else ""))
    return state


def check_weights(path):
    """ValueError for weights that are not those of the record; a line for models of earlier versions."""
    made_by_now = made_by(target_of(path.parent.name))
    recorded = record.files_sha256(path / CONFIG, made_by_now)
    if recorded is None:
        checksums.say_unverified(path / WEIGHTS, made_by_now)
    elif (path / WEIGHTS).is_file():
        record.refuse_changed(path / WEIGHTS, recorded[WEIGHTS], made_by_now)


def models_sha256(configs):
    """Checksum of all that tables are collected from: dict of kind of model to what `read_all_configs` gives."""
    return checksums.of_content(*(of_model for of_model in configs.values() if of_model))


def sha256_now(results, cell_types, splits):
    """`models_sha256` of the models that are there now."""
    return models_sha256({model: read_all_configs(root(results, model), cell_types, splits) for model in MODELS})


def read_all_configs(results, cell_types, splits):
    """config.json of all models of a kind, dict of target to `read_configs`, of the targets that have some."""
    found = {target: read_configs(results, target, splits)[0] for target in (*cell_types, *FOLDERS)}
    return {target: configs for target, configs in found.items() if configs}


def read_configs(results, target, splits):
    """config.json of the finished folds of a target, dict of (outer, inner) to dict, and paths of the missing ones.

    Raises ValueError when finished folds differ in more than their numbers.
    """
    configs, missing = {}, []
    for outer in range(splits["n_outer"]):
        for inner in range(splits["n_inner"]):
            path = folder(results, target, outer, inner)
            if path.is_dir():
                configs[outer, inner] = read_config(path, target)
            else:
                missing.append(path)
    common = {}
    for fold, config in configs.items():
        for key in set(config) - {"outer", "inner", MADE_WITH}:
            if common.setdefault(key, config[key]) != config[key]:
                raise ValueError(f"{folder(results, target, *fold)} differs from other folds of {target} in {key} "
                                 f"({config[key]}, not {common[key]}): train the folds of one target alike, with "
                                 "--overwrite")
    return configs, missing
