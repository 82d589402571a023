"""What lies in a project folder, read without changing anything; what cannot be read is a problem in words."""
import dataclasses

import pandas as pd

from slide_ex import gene_table
from slide_ex.project import (
    clinical_file,
    description_file,
    feature_file,
    features_file,
    metadata_file,
    splits_file,
    targets_file,
)


@dataclasses.dataclass
class Facts:
    """What the files of a project say; None for files that are absent or cannot be read."""
    metadata: pd.DataFrame | None   # metadata_file.read
    made: pd.DataFrame              # attributes of features/<Slide.ID>.h5, index slide_id, those that can be read
    damaged: list                   # slides whose feature file cannot be read
    bulk: list | None               # patients
    said: description_file.Description
    response: dict | None           # patient to what stands in clinical.csv, "" where missing
    targets: dict | None            # patients, cell_types, attributes
    features: dict | None           # slides (slide_id, patient_id, n_tiles), attributes, copied_as
    splits: dict | None
    problems: list


def read(project):
    """All facts of a project."""
    problems = []

    def tried(name, read_now):
        try:
            return read_now(project / name) if (project / name).is_file() else None
        except (ValueError, OSError) as error:
            problems.append(str(error))
            return None

    metadata = tried(metadata_file.NAME, metadata_file.read_table)
    made, damaged = read_slide_features(project, [] if metadata is None else metadata.slide_id)
    said = tried(description_file.NAME, lambda path: description_file.read(path.parent))
    return Facts(metadata, made, damaged, bulk=read_bulk(project, problems),
                 said=said or description_file.Description(), response=tried(clinical_file.NAME, read_response),
                 targets=tried(targets_file.NAME, read_targets), features=tried(features_file.NAME, read_features),
                 splits=tried(splits_file.NAME, splits_file.read), problems=problems)


def read_bulk(project, problems):
    """Patients of the bulk table, None where there is none."""
    try:
        path = gene_table.find(project, "bulk_expression")
        return path and gene_table.samples(path)
    except ValueError as error:
        problems.append(str(error))
        return None


def read_response(path):
    """Response of each patient as it stands in clinical.csv; None without that column."""
    return clinical_file.written_responses(path) if clinical_file.has_responses(path) else None


def read_targets(path):
    return {"patients": targets_file.read_patients(path).tolist(), "cell_types": targets_file.read_cell_types(path),
            "attributes": targets_file.read_attributes(path)}


def read_features(path):
    slide_ids, patient_ids, first_tile, _, attributes = features_file.read_index(path)
    slides = pd.DataFrame({"slide_id": slide_ids, "patient_id": patient_ids})
    return {"slides": slides.assign(n_tiles=first_tile[1:] - first_tile[:-1]), "attributes": attributes,
            "copied_as": features_file.copied_as(path)}


def read_slide_features(project, slide_ids):
    """Attributes of the feature files that are there, one row a slide, and the slides whose file cannot be read."""
    rows, damaged = {}, []
    for slide_id in slide_ids:
        path = feature_file.path_of(project, slide_id)
        if path.is_file():
            try:
                rows[slide_id] = feature_file.read_attributes(path)
            except (ValueError, OSError):
                damaged.append(slide_id)
    return pd.DataFrame.from_dict(rows, orient="index"), damaged
