"""The inputs of a project folder, made from one's own files: metadata.csv, bulk_expression.tsv.gz, clinical.csv.

preparation.json, written before and after them, holds what they were made from, and whether they are finished;
preparation.csv one row for every file or id that was looked at: kind, id, patient_id, reason ("" = used, else why it
was left out).
"""
import gzip
import os
from pathlib import Path

import pandas as pd

from slide_ex import record
from slide_ex.ids import some
from slide_ex.project import clinical_file, metadata_file
from slide_ex.script import whole
from slide_ex.slides import files

MADE_BY = "data/prepare_tcga.py or data/prepare_cohort.py"
MARKER = "preparation.json"
TABLES = ("metadata.csv", "bulk_expression.tsv.gz", "clinical.csv", "preparation.csv")


def is_finished(project, now, overwrite):
    """Whether the inputs were prepared before in the same way; ValueError when they were made in another."""
    marker = project / MARKER
    if overwrite:
        return False
    if not marker.is_file():
        there = [name for name in TABLES if (project / name).exists()]
        if there:
            raise ValueError(f"{project} already holds {some(there)}, made by something else: give another folder, or "
                             "replace them with --overwrite")
        return False
    made = record.read(marker, MADE_BY)
    finished, outputs = made.pop("finished", False), made.pop("outputs", [])
    record.refuse_other(project, made, now, "keep it, give another folder, or prepare it again with --overwrite")
    return finished and all((project / name).exists() for name in outputs)


def begin(project, now):
    """Write preparation.json before the first output, so that a run which was killed can be taken up again."""
    record.write(project / MARKER, now | {"finished": False})


def end(project, now, outputs):
    """Write preparation.json after the last output; `outputs`: names of all files, from the project folder."""
    record.write(project / MARKER, now | {"finished": True, "outputs": sorted(outputs)},
                 [project / name for name in TABLES if name in outputs])


def link_slides(project, slides):
    """Link all that belongs to the slides (columns filename, path) into slides/; what is there is left alone."""
    for name, path in links_of(slides):
        link = project / "slides" / name
        if link.exists() and link.samefile(path):
            continue
        if link.exists() and not link.is_symlink():
            raise ValueError(f"{link} is another file than {path}: move it away")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        os.symlink(path.resolve(), link)


def links_of(slides):
    """Names in slides/, and what they are linked to, of all files and folders that belong to some slides.

    A slide keeps its name in the table; what lies beside it keeps its own, or follows that of the slide (MIRAX).
    """
    found = {}
    for filename, path in zip(slides["filename"], slides["path"]):
        folder, _, own = filename.rpartition("/")
        for one in files.to_link(path):
            name = own if one == path else Path(own).stem if one.is_dir() else one.name
            found[f"{folder}/{name}" if folder else name] = one
    return list(found.items())


def write(project, now, slides, bulk, clinical, report):
    """Write the tables, each whole or absent; `bulk` (genes x patients) and `clinical` may be None.

    slides : DataFrame with slide_id, filename, patient_id, and what metadata_file.write takes besides
    """
    with whole(project / metadata_file.NAME) as part:
        metadata_file.write(part, slides)
    if bulk is not None:
        with whole(project / "bulk_expression.tsv.gz") as part, open(part, "wb") as file:
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed:  # the same table gives the same bytes
                bulk.to_csv(compressed, sep="\t", float_format="%.6g")
    if clinical is not None:
        with whole(project / clinical_file.NAME) as part:
            clinical_file.write(part, clinical)
    with whole(project / "preparation.csv") as part:
        report.to_csv(part, index=False)
    names = [name for name, _ in links_of(slides)] if "path" in slides else []
    links = [f"slides/{name}" for name in names if (project / "slides" / name).is_symlink()]
    end(project, now, [name for name in TABLES if (project / name).exists()] + links)


def report_of(**tables):
    """preparation.csv from tables with patient_id, reason and an id: report_of(slide=("slide_id", table), ...)."""
    rows = [pd.DataFrame({"kind": kind, "id": table[column].to_numpy(), "patient_id": table["patient_id"].to_numpy(),
                          "reason": table["reason"].to_numpy()}) for kind, (column, table) in tables.items()]
    return pd.concat(rows, ignore_index=True)


def summary(report):
    """Lines: how many of each kind are used, and how many are left out for which reason."""
    lines = []
    for kind, rows in report.groupby("kind", sort=False):
        left_out = rows.loc[rows["reason"] != "", "reason"].value_counts()
        lines.append(f"{kind}: {(rows['reason'] == '').sum()} of {len(rows)} used"
                     + "".join(f"; {n} left out: {reason}" for reason, n in left_out.items()))
    return lines
