"""The inputs of a project folder, made from one's own files: metadata.csv, bulk_expression.tsv.gz, clinical.csv.

preparation.json, written before and after them, holds what they were made from, and whether they are finished;
preparation.csv one row for every file or id that was looked at: kind, id, patient_id, reason ("" = used, else why it
was left out).
"""
import gzip
import hashlib
import json
import os
import re

import pandas as pd

from slide_ex.ids import some
from slide_ex.script import whole

SHA256 = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
OUTPUTS = ("metadata.csv", "bulk_expression.tsv.gz", "clinical.csv", "preparation.csv")


def checksum(path, algorithm="sha256"):
    """Checksum of a file, as hexadecimal digits."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_sizes(paths):
    """Checksum of names and sizes of files, for those too large to read twice."""
    lines = [f"{path.name}\t{path.stat().st_size if path.is_file() else 'absent'}\n" for path in paths]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def is_finished(project, record, overwrite):
    """Whether the inputs were prepared before in the same way; ValueError when they were made in another."""
    path = project / "preparation.json"
    if overwrite:
        return False
    if not path.is_file():
        there = [name for name in OUTPUTS if (project / name).exists()]
        if there:
            raise ValueError(f"{project} already holds {some(there)}, made by something else: give another folder, or "
                             "replace them with --overwrite")
        return False
    made, record = json.loads(path.read_text()), json.loads(json.dumps(record))
    finished = made.pop("finished")
    different = [f"{name} was {shown(made.get(name))}, now {shown(record.get(name))}"
                 for name in sorted(made.keys() | record.keys()) if made.get(name) != record.get(name)]
    if different:
        raise ValueError(f"{project} was prepared in another way ({'; '.join(different)}): keep it, give another "
                         "folder, or prepare it again with --overwrite")
    return finished


def shown(value):
    """A value as text for a message, of checksums the first digits."""
    return SHA256.sub(r"\1...", str(value))


def write_record(project, record, finished):
    """preparation.json. Before the first output it says so, that a run which was killed can be taken up again."""
    with whole(project / "preparation.json") as part:
        part.write_text(json.dumps(record | {"finished": finished}, indent=1) + "\n")


def link_slides(project, slides):
    """Link the slide files (columns filename, path) into slides/; files that are there already are left alone."""
    for filename, path in zip(slides["filename"], slides["path"]):
        link = project / "slides" / filename
        if link.exists() and link.samefile(path):
            continue
        if link.exists() and not link.is_symlink():
            raise ValueError(f"{link} is another file than {path}: move it away")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        os.symlink(path.resolve(), link)


def write(project, record, metadata, bulk, clinical, report):
    """Write the tables, each whole or absent; `bulk` (genes x patients) and `clinical` may be None."""
    with whole(project / "metadata.csv") as part:
        metadata.to_csv(part, index=False)
    if bulk is not None:
        with whole(project / "bulk_expression.tsv.gz") as part, open(part, "wb") as file:
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed:  # the same table gives the same bytes
                bulk.to_csv(compressed, sep="\t", float_format="%.6g")
    if clinical is not None:
        with whole(project / "clinical.csv") as part:
            clinical.to_csv(part, index=False)
    with whole(project / "preparation.csv") as part:
        report.to_csv(part, index=False)
    write_record(project, record, finished=True)


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
