"""Which record says what a table of text held when it was written, and what is done where it holds something else now.

The record of a stage (record.py), one of its outputs, has the checksums of its tables by their paths from its folder. A
table of results that has changed is refused. The inputs of a project are their user's, and may be edited: of one that
has changed there is a line, unless it was cut off. What no record names was made by hand.
"""
import functools
import logging
import os

from slide_ex import checksums, hdf5, record

RECORDS = {     # path from the folder of a table: who wrote both, unless the reader of the table knows better
    "predictions.h5": "prediction/collect_results.py", "config.json": "the training script",
    "settings.json": "prediction/predict_response.py", "spatial.json": "prediction/validate_spatial.py",
    "enrichment.json": "prediction/enrich_genes.py",
    "expression.h5": "deconvolution/1main_deconvolution.py", "../targets.h5": "deconvolution/prepare_targets.py"}
OF_INPUTS = {"preparation.json": "data/prepare_tcga.py, prepare_cohort.py or import_original.py",
             "signature.json": "deconvolution/make_signature.py", "truth/parameters.json": "data/make_demo_cohort.py",
             "parameters.json": "data/make_demo_cohort.py"}


def check(path, made_by=None):
    """Compare a table with its record, where there is one; ValueError for one that was cut or, of results, changed.

    made_by : the script whose result it is; of a table that may be anybody's it is not known
    """
    named, lacking = False, False
    for name, writer in (RECORDS | OF_INPUTS).items():
        recorded = of_record(path.parent / name, writer)
        own = os.path.relpath(path, (path.parent / name).parent)
        lacking |= recorded is None and name in RECORDS
        if own in (recorded or ()):
            named = True
            compare = compare_input if name in OF_INPUTS else record.refuse_changed
            compare(path, recorded[own], made_by or writer)
    if lacking and not named and made_by:   # else the file without checksums is the record of other tables, or of none
        checksums.say_unverified(path, made_by)


def of_record(path, made_by):
    """Checksums by path in a record; None where it has none, {} where there is no such file or it is no record."""
    return read_once(path, made_by, path.stat().st_mtime_ns) if path.is_file() else {}


@functools.cache
def read_once(path, made_by, time_ns):
    """Checksums by path in a record as it was at that time."""
    try:
        owner = record if path.suffix == ".json" else hdf5
        return owner.files_sha256(path, made_by)
    except (ValueError, OSError):   # who reads the record itself says what is wrong with it; or it is somebody's own
        return {}


def compare_input(path, sha256, made_by):
    """A line for an input that is not as it was written; ValueError where it was cut off within a line."""
    if checksums.of_file(path) == sha256:
        return
    if path.suffix != ".gz" and not path.read_bytes().endswith(b"\n"):
        raise ValueError(f"{path} is not as {made_by} wrote it, and its last line does not end: it was cut off; make "
                         "it again with --overwrite, or end that line if you edited it")
    say_edited(path, made_by)


@functools.cache
def say_edited(path, made_by):
    logging.warning(f"{path} is not as {made_by} wrote it (SHA-256): right if you edited it; if not, it was cut off or "
                    "damaged, and --overwrite makes it again")
