"""For notebooks: a project's predictions as DataFrames, and trained models applied to any matrix of features.

    import sys
    sys.path.insert(0, "slide-ex/prediction")       # of your copy of the repository
    from transfer import notebook
"""
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from slide_ex.project import features_file, predictions_file
from training import linear_head
from transfer import model_bundle

OUT_OF_FOLD = "results"


def predictions(project, name=OUT_OF_FOLD, values="predictions"):
    """Dict of target (cell type, "abundance", "direct") to DataFrame, patients x outputs.

    name : "results" (each patient by models that never saw it), or that of the models of another cohort
    values : "predictions", or "labels", of which targets without labels have none
    """
    folder = Path(project) / OUT_OF_FOLD if name == OUT_OF_FOLD else Path(project) / "predictions" / name
    made_by = predictions_file.OUT_OF_FOLD_MADE_BY if name == OUT_OF_FOLD else "prediction/predict_cohort.py"
    path, tables = folder / predictions_file.NAME, {}
    for target in predictions_file.read_names(path, made_by):
        found = predictions_file.read_target(path, target, made_by)
        if (of_target := getattr(found, values)) is not None:
            tables[target] = pd.DataFrame(of_target, pd.Index(found.patient_ids, name="patient_id"), found.outputs)
    return tables


def slide_features(project):
    """Mean tile features of the slides of a project: DataFrame, index slide_id; mean colours; name of the encoder."""
    slides = features_file.read_slides(Path(project) / features_file.NAME)
    index = pd.Index(slides.slide_ids, name="slide_id")
    return (pd.DataFrame(slides.mean_features, index), pd.DataFrame(slides.mean_rgb, index, ["red", "green", "blue"]),
            slides.attributes["encoder"])


def apply(models, features, encoder, colours=None, targets=()):
    """Predictions of the mean of all models for rows of features: dict of target to DataFrame, rows x outputs.

    Parameters
    ----------
    models : a bundle (prediction/export_model.py) or the folder of a trained project; all its models are used, so rows
        of patients that it was trained on are predicted too well
    features : DataFrame or array (n_rows, n_features), of tiles, or means over the tiles of slides
    encoder : which encoder made them; ValueError where the models learnt from another. That weights, tile size and
        normalisation are the same is not seen here; predict_cohort.py looks
    colours : mean red, green, blue of the rows, 0..255; low-rank models need them
    targets : those that are wanted; () for all. The direct network, which needs every tile, is left out with a note
    """
    found = model_bundle.read_any(Path(models), tuple(targets))
    index, x = getattr(features, "index", None), np.asarray(features, float)
    if encoder != found.attributes.get("encoder"):
        raise ValueError(f"features are of {encoder}, the models of {models} learnt from those of "
                         f"{found.attributes.get('encoder')}")
    if x.ndim != 2 or x.shape[1] != len(found.training.mean) or not np.isfinite(x).all():
        raise ValueError(f"features of shape {x.shape}, needed: finite numbers (n_rows, {len(found.training.mean)})")
    rgb, tables = None if colours is None else np.asarray(colours, float), {}
    for name, target in found.targets.items():
        if target.head != "regression":
            logging.warning("%s is left out: it needs every tile, see prediction/predict_cohort.py", name)
            continue
        matrix = linear_head.mean_matrix(target.states(target.folds))
        tables[name] = pd.DataFrame(linear_head.predict(matrix, x, rgb), index, target.outputs)
    return tables
