"""The patients of a comparison: predictions or RNA of one project or two, responses, and what is refused.

Feature sets are tables (patients x features), joined by patient id:
    <cell type>, Bulk   expression: predicted from slides, or the RNA itself (source "targets")
    abundance           fractions of all cell types
    direct              probability of pCR of the direct model that was chosen; out of fold also of each of its kinds
                        (direct network, direct low-rank) and of a ridge on mean features (direct ridge)
    mean colour         mean red, green and blue of a patient's slides
    mean features       of survival alone: mean tile features of a patient's slides, straight from the encoder
    clinical            columns of clinical.csv, as text
"""
import dataclasses
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from response import classifiers, feature_sets
from slide_ex.ids import counted
from slide_ex.project import clinical_file, description_file, features_file, predictions_file, targets_file

SAME_IN_BOTH = "encoder", "weights"  # attributes of predictions.h5


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the predictions of a project are."""
    project: Path
    name: str  # "results" (out of fold), "targets" (no predictions, RNA) or the name of trained models

    @property
    def folder(self):
        """Folder of predictions.h5 and of the tables of genes."""
        return self.project / "results" if self.name == "results" else self.project / "predictions" / self.name


@dataclasses.dataclass(frozen=True)
class Cohort:
    """What is known of the patients of one project."""
    source: Source
    sets: dict        # name to DataFrame, patients x features
    response: dict    # patient to 1.0 (pCR) or 0.0 (RD), or to (time, event); without patients of whom it is not known
    attributes: dict  # of the file that was read
    endpoint: tuple = ()  # columns of time and event in clinical.csv, () for response


@dataclasses.dataclass(frozen=True)
class Patients:
    """Who trains and who is scored; inside one cohort the same."""
    ids: list          # str, sorted
    y: np.ndarray      # (n_patients,) 1 pCR, 0 RD; of survival (n_patients, 2) time and event (1, censored 0)
    new_ids: list      # str, sorted
    new_y: np.ndarray  # of the new patients, NaN where it is not known

    @property
    def strata(self):
        """What folds share out evenly: response, or event."""
        return self.y if self.y.ndim == 1 else self.y[:, 1]


def sources(project, name, other):
    """Sources of the cohorts that train and that are scored, and the name of the setting.

    name, other : --from, --train-on, each None where it is not given
    """
    if name and name != Path(name).name:
        raise ValueError(f"--from {name}: give the name of a folder in {project / 'predictions'}, results or targets")
    if other is None:
        source = Source(project, name or "results")
        return source, source, {"results": "out_of_fold", "targets": "rna"}.get(source.name, f"within_{source.name}")
    trained = other.resolve().name
    if not other.is_dir():
        raise FileNotFoundError(f"{other} is not a folder: give a project with --train-on")
    if name == "results":
        raise ValueError("--from results: the predictions in results/ come from models of this project alone, so that "
                         "another one cannot train on them; leave --from out, or name models that predicted both")
    if name == "targets":
        return Source(other, name), Source(project, name), f"rna_from_{trained}"
    if name in (None, trained):  # the models were trained on the other project, which has predictions out of fold
        return Source(other, "results"), Source(project, trained), trained
    return Source(other, name), Source(project, name), f"{name}_from_{trained}"


def read_both(project, name, other, clinical_columns, endpoint=()):
    """The cohorts that train and that are scored (the same one without `other`), and the name of the setting."""
    source, new_source, setting = sources(project, name, other)
    train = read(source, clinical_columns, endpoint)
    if other is None:
        return train, train, setting
    new = read(new_source, clinical_columns, endpoint)
    refuse_unlike(train, new)
    return train, new, setting


def read(source, clinical_columns, endpoint=()):
    """Cohort of a source; FileNotFoundError names the script to run first.

    endpoint : () for response, or the columns of time and event in clinical.csv
    """
    sets, attributes = read_rna(source) if source.name == "targets" else read_predictions(source)
    if source.name != "targets" and (source.project / "features.h5").is_file():
        slides = features_file.read_slides(source.project / "features.h5")
        if np.isfinite(slides.mean_rgb).all():  # features of other tools come without colours
            colours = pd.DataFrame(slides.mean_rgb.astype(float), columns=["red", "green", "blue"])
            sets["mean colour"] = colours.groupby(slides.patient_ids).mean()
        if endpoint:
            sets[feature_sets.MEAN_FEATURES] = pd.DataFrame(slides.mean_features.astype(float)).groupby(
                slides.patient_ids).mean()
    clinical = source.project / clinical_file.NAME
    if endpoint or clinical_file.has_responses(clinical):
        clinical_file.compare(clinical, everyone(sets))
    if clinical_columns:
        sets["clinical"] = pd.DataFrame({column: clinical_file.read_column(clinical, column)
                                         for column in clinical_columns})
    if endpoint:
        sets = {name: table for name, table in sets.items() if name not in feature_sets.DIRECT}   # scores of pCR
        return Cohort(source, sets, clinical_file.known_survival(clinical, *endpoint), attributes, endpoint)
    response = clinical_file.known_responses(clinical) if clinical_file.has_responses(clinical) else {}
    return Cohort(source, sets, response, attributes, endpoint)


def read_rna(source):
    """Labels of targets.h5 as feature sets (dict of name to patients x genes or cell types), and its attributes."""
    path = source.project / targets_file.NAME
    sets = {}
    for name in [*targets_file.read_cell_types(path), "abundance"]:
        patients, outputs, labels = targets_file.read_labels(path, name)
        sets[name] = pd.DataFrame(labels, patients, outputs, dtype=float)
    return sets, targets_file.read_attributes(path)


def read_predictions(source):
    """Predictions of a source as feature sets, and the attributes; errors name the script that makes the file."""
    path = source.folder / predictions_file.NAME
    made_by = (predictions_file.OUT_OF_FOLD_MADE_BY if source.name == "results" else
               f"prediction/predict_cohort.py {source.project} --models <the project or bundle {source.name}>")
    sets = {}
    for name in predictions_file.read_names(path, made_by):
        predicted = predictions_file.read_target(path, name, made_by)
        sets[name] = pd.DataFrame(predicted.predictions, predicted.patient_ids, predicted.outputs, dtype=float)
        for kind, scores in predicted.by_model.items():
            sets[f"{name} {kind}"] = pd.DataFrame(scores, predicted.patient_ids, predicted.outputs, dtype=float)
    return sets, predictions_file.read_attributes(path, made_by)


def refuse_unlike(train, new):
    """ValueError when two cohorts share patients or were predicted from features of different encoders."""
    shared = sorted(everyone(train.sets) & everyone(new.sets))
    if shared:
        raise ValueError(f"{train.source.project} and {new.source.project} share {counted(shared)}: a "
                         "patient must not be trained on and scored; take them out of one of the cohorts")
    for name in SAME_IN_BOTH:
        pair = [cohort.attributes.get(name) for cohort in (train, new)]
        if None not in pair and pair[0] != pair[1]:
            raise ValueError(f"{name} is {pair[0]} in {train.source.folder} and {pair[1]} in {new.source.folder}: "
                             "predict both cohorts from the same features")


def everyone(sets):
    """Ids of all patients of any feature set; set of str."""
    return set().union(*(table.index for table in sets.values()))


def align(train, new, tables):
    """Patients of the comparison, who have all its feature sets (dict of name to a pair of tables).

    Those who train have a known response as well; inside one cohort so have those who are scored.

    Raises ValueError for too few patients of a response, and where both responses of scored patients are not known.
    """
    if train is new:
        ids = with_all_sets(train, {name: pair[0] for name, pair in tables.items()}, set(train.response))
        y = responses(train, ids, 2 * classifiers.N_FOLDS)
        return Patients(ids, y, ids, y)
    learnt = {name: pair[0] for name, pair in tables.items() if name not in feature_sets.DIRECT}  # not fitted
    ids = with_all_sets(train, learnt, set(train.response))
    new_ids = with_all_sets(new, {name: pair[1] for name, pair in tables.items()}, everyone(new.sets))
    return Patients(ids, responses(train, ids, 2 * classifiers.N_INNER_FOLDS), new_ids,
                    responses(new, new_ids, 1 if new.response else 0))


def with_all_sets(cohort, tables, among):
    """Those of the patients `among` (set of ids) that are in each of the tables (dict by name), sorted; with a note."""
    patients = among.intersection(*(table.index for table in tables.values()))
    if len(patients) < len(among):
        lacking = [name for name, table in tables.items() if not among <= set(table.index)]
        logging.info(f"{cohort.source.project}: left out {counted(sorted(among - patients))}, not "
                     f"in {', '.join(lacking)}")
    return sorted(patients)


def responses(cohort, patients, n_least):
    """Response of patients; ndarray (n_patients,) of 1, 0 and NaN (not known), or of survival (n_patients, 2).

    ValueError below n_least of 1 or 0; of survival below n_least events.
    """
    if cohort.endpoint:
        y = np.array([cohort.response.get(patient, (np.nan, np.nan)) for patient in patients]).reshape(-1, 2)
        if (n_events := int((y[:, 1] == 1).sum())) < n_least:
            raise ValueError(f"{cohort.source.project}: {n_events} events among the patients with all feature sets; it "
                             f"takes {n_least}: fill {' and '.join(cohort.endpoint)} of clinical.csv, or name fewer "
                             "sets with --features")
        if n_least and np.unique(y[~np.isnan(y[:, 0]), 0]).size == 1:
            raise ValueError(f"{cohort.source.project}: {cohort.endpoint[0]} is the same for all patients, so that "
                             "nobody lives longer than another: name another column of times with --endpoint")
        return y
    y = np.array([cohort.response.get(patient, np.nan) for patient in patients])
    n_pcr, n_rd = int((y == 1).sum()), int((y == 0).sum())
    if min(n_pcr, n_rd) < n_least:
        said = description_file.read(cohort.source.project)
        or_none = "" if n_least > 1 else " (or empty it, to score patients without statistics)"
        raise ValueError(f"{cohort.source.project}: {n_pcr} {said.responder} and {n_rd} {said.non_responder} among the "
                         f"patients with all feature sets; it takes {n_least} of each: fill the column "
                         f"{said.response_column} of clinical.csv{or_none}, or name fewer sets with --features")
    return y
