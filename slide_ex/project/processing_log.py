"""logs/slide_processing.csv: one row for each attempt at a slide, appended, so that jobs can share the file."""
import contextlib
import csv
import io
import logging
import os
import time

import pandas as pd

COLUMNS = ["slide_index", "slide_id", "status", "reason", "tiles", "kept", "unreadable", "seconds", "tiles_per_second"]


@contextlib.contextmanager
def entry(project_path, slide_index, slide_id):
    """Time the work on one slide and log how it ended. The block fills the given dict with its counts.

    An exception in the block becomes status 'failed' with its reason: other slides go on.
    """
    row = {"slide_index": slide_index, "slide_id": slide_id, "status": "done", "reason": ""}
    started = time.monotonic()
    try:
        yield row
        row["status"] = "done" if row["kept"] else "empty"
    except Exception as error:
        logging.debug("slide %d", slide_index, exc_info=True)
        row.update(status="failed", reason=" ".join(f"{type(error).__name__}: {error}".split()))
    row["seconds"] = round(time.monotonic() - started, 3)
    if row["status"] == "failed":
        logging.info("slide %d %s: failed, %s", slide_index, slide_id, row["reason"])
    else:
        row["tiles_per_second"] = round(row["tiles"] / row["seconds"], 2)
        logging.info("slide %d %s: %d tiles, %d kept, %.1f s, %.1f tiles/s", slide_index, slide_id, row["tiles"],
                     row["kept"], row["seconds"], row["tiles_per_second"])
    append(project_path / "logs" / "slide_processing.csv", row)


def append(path, row):
    """Add one row in one write; the first writer adds the header."""
    text = io.StringIO()
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
    """The last row of each slide that was tried, by slide_id (DataFrame; empty without a log)."""
    path = project_path / "logs" / "slide_processing.csv"
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS).set_index("slide_id")
    rows = pd.read_csv(path, dtype={"slide_id": str}, keep_default_na=False)
    return rows[rows.status != "status"].drop_duplicates("slide_id", keep="last").set_index("slide_id")
