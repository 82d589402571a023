"""A download from the Genomic Data Commons (GDC) as it lies on disk: sample sheet, manifest, one folder a file.

Formats: "Sample Sheet" (or the same columns of the API, as TSV) and "Manifest" of the portal's cart, and the folders of
the GDC Data Transfer Tool (gdc-client)
<file id>/<file name>, with logs/ and annotations.txt beside the file and <file name>.partial while it is incomplete.
"""
import pandas as pd

from slide_ex import checksums
from slide_ex.ids import some
from slide_ex.text_table import read_strings

SHEET_COLUMNS = {"File ID": "file_id", "File Name": "file_name", "Data Type": "data_type", "Case ID": "case_id",
                 "Sample ID": "sample_id"}
OF_API = {"file_id": "File ID", "file_name": "File Name", "data_type": "Data Type", "cases.0.submitter_id": "Case ID",
          "cases.0.samples.0.submitter_id": "Sample ID"}     # the same of the API's endpoint files, format TSV
MANIFEST_COLUMNS = ["id", "filename", "md5", "size", "state"]


def read_columns(path, columns, what):
    """Tab-separated text as strings; ValueError when one of `columns` is absent. `what` tells where to get the file."""
    table = read_strings(path, what)
    if "File ID" in columns and "File ID" not in table:
        table = table.rename(columns=OF_API)
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{path} has no column {some(missing)}, its columns are {some(table, 8)}: give {what}")
    return table


def read_sample_sheet(path, data_type):
    """Rows of a sample sheet with one Data Type: file_id, file_name, case_id, sample_id, reason ("" = not left out).

    A file of several samples of one case names the case once for each; it has one case_id here.
    """
    sheet = read_columns(path, SHEET_COLUMNS, "the portal's Sample Sheet (Cart, Sample Sheet)")
    found = sorted(set(sheet["Data Type"]))
    sheet = sheet[sheet["Data Type"] == data_type].rename(columns=SHEET_COLUMNS)[list(SHEET_COLUMNS.values())]
    if sheet.empty:
        raise ValueError(f"{path} lists no file of Data Type {data_type!r}, only {some(found)}")
    sheet["case_id"] = [", ".join(dict.fromkeys(cases.split(", "))) for cases in sheet["case_id"]]
    return sheet.drop_duplicates("file_id").drop(columns="data_type").assign(reason="").reset_index(drop=True)


def read_manifests(paths):
    """Manifests in one table, one row a file: id, filename, md5, size (int), state; index the file id; None of none."""
    if not paths:
        return None
    what = "the manifest that the files were downloaded with"
    tables = [read_columns(path, MANIFEST_COLUMNS[:4], what) for path in paths]
    return pd.concat(tables).drop_duplicates("id").astype({"size": int}).set_index("id", drop=False)


def locate(files, folder, manifest=None, check_md5=False):
    """Path of each file of a sheet (file_id, file_name) below `folder`, and what is wrong with it.

    Files may lie in a folder of their id, as gdc-client leaves them, or directly in `folder`.

    Returns
    -------
    paths : list of Path
    problems : list of str, "" for a file that is there and, by the manifest, whole
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: give the folder that gdc-client downloaded to")
    paths, problems = [], []
    for file_id, name in zip(files["file_id"], files["file_name"]):
        path = folder / file_id / name
        if not path.is_file() and (folder / name).is_file():
            path = folder / name
        entry = manifest.loc[file_id] if manifest is not None and file_id in manifest.index else None
        paths.append(path)
        problems.append(problem_of(path, entry, check_md5))
    return paths, problems


def problem_of(path, entry, check_md5):
    """What is wrong with a downloaded file, by its row of the manifest (None without one)."""
    if not path.is_file():
        partial = path.with_name(f"{path.name}.partial").exists()
        return "download not finished (.partial)" if partial else "not downloaded"
    if entry is not None and path.stat().st_size != entry["size"]:
        return f"truncated: {path.stat().st_size} of {entry['size']} bytes"
    if entry is not None and check_md5 and checksums.of_file(path, "md5") != entry["md5"]:
        return "damaged: its MD5 is not the manifest's"
    return ""


def manifest_of(files, manifest=None):
    """Manifest with which gdc-client downloads `files` (file_id, file_name) again."""
    again = pd.DataFrame("", index=files["file_id"], columns=MANIFEST_COLUMNS)
    again["id"], again["filename"] = list(files["file_id"]), list(files["file_name"])
    if manifest is not None:
        again.update(manifest.astype(str).reindex(again.index))
    return again
