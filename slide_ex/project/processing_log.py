"""logs/slide_processing.csv: one row for each attempt at a slide, appended, so that jobs can share the file."""
import csv
import io
import os

import pandas as pd

COLUMNS = ["slide_index", "slide_id", "status", "reason", "tiles", "kept", "unreadable", "seconds", "tiles_per_second"]


def path_of(project_path):
    return project_path / "logs" / "slide_processing.csv"


def append(project_path, row):
    """Add one row in one write; the first writer adds the header."""
    path, text = path_of(project_path), io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if not path.exists():
        writer.writeheader()
    writer.writerow(row)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, text.getvalue().encode())
    finally:
        os.close(descriptor)


def last_attempts(project_path):
    """The last row of each slide that was tried, by slide_id (DataFrame of str; empty without a log).

    The log explains, files decide: rows that cannot be read are skipped, each on its own.
    """
    path = path_of(project_path)
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS, dtype=str).set_index("slide_id")
    rows = [row + [""] * (len(COLUMNS) - len(row))
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
            for row in csv.reader([line.replace("\0", "")]) if len(row) <= len(COLUMNS)]
    rows = pd.DataFrame(rows, columns=COLUMNS, dtype=str)
    known = rows.status.isin(["done", "empty", "failed"])
    return rows[known].drop_duplicates("slide_id", keep="last").set_index("slide_id")
