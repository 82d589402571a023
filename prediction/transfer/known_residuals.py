"""How far the models of a project were off, out of fold: half-widths of the intervals of its predictions elsewhere."""
import logging

import pandas as pd

from evaluation import intervals
from slide_ex.project import model_folder, predictions_file, targets_file


def kinds(project, splits):
    """Which models made the predictions out of fold in results/, dict by target; none where these are of others."""
    path = project / "results" / predictions_file.NAME
    attributes = predictions_file.read_attributes(path) if path.is_file() else {}
    cell_types = targets_file.read_cell_types(project / targets_file.NAME)
    if attributes.get("models_sha256") == model_folder.sha256_now(project / "results", cell_types, splits):
        return predictions_file.models_of(attributes)
    logging.info(f"no intervals: {path} is not of these models, run {predictions_file.OUT_OF_FOLD_MADE_BY}")
    return {}


def half_widths(project, name, outputs, kind, known):
    """intervals.half_widths of the outputs of a target, None where they are not known.

    kind : network, low-rank or blend, of which predictions are to be
    known : function without arguments that gives `kinds`

    A probability of response has none: its labels are 0 or 1.
    """
    collected = known() if name != "direct" else {}
    if name not in collected:
        return None
    if collected[name] != kind:
        logging.info(f"{name}: no intervals, {predictions_file.OUT_OF_FOLD_MADE_BY} took {collected[name]}, not {kind}")
        return None
    predicted = predictions_file.read_target(project / "results" / predictions_file.NAME, name)
    found = pd.Series(intervals.half_widths(predicted.labels, predicted.predictions), predicted.outputs)
    if found.isna().all():
        logging.info(f"{name}: no intervals, {len(predicted.labels)} patients are too few")
        return None
    return found.reindex(outputs).to_numpy()
