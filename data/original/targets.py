"""targets.h5 from the labels of an original project."""
import numpy as np

from original import original_project
from slide_ex.project import targets_file

UNKNOWN = {name: np.nan for name in ("min_confidence", "min_nonzero_fraction", "min_variance")}


def write(path, original, slides, log_base):
    """Write the file; give its patients and lines about it. Patients without a label somewhere are left out."""
    abundance, note = original_project.abundance(original, slides)
    tables, notes = {}, [note]
    for cell_type, table, note in original_project.expression(original, slides):
        tables[cell_type] = table
        notes.append(f"{note}; {table.shape[1]} genes")
    if not tables:
        raise FileNotFoundError(f"no breast_<cell type>_log_exp_merged.pkl in {original}")
    labelled = abundance.notna().all(axis=1)
    for table in tables.values():
        labelled &= table.notna().all(axis=1).reindex(labelled.index, fill_value=False)
    patients = labelled.index[labelled]
    if len(patients) < len(labelled):
        notes.append(f"{len(labelled) - len(patients)} patients without all labels left out, of the folds too")
    expression = [(cell_type, list(table), table.loc[patients].to_numpy(np.float32), np.ones(table.shape[1]))
                  for cell_type, table in tables.items()]
    attributes = UNKNOWN | {"log_base": log_base or np.nan, "deconvolution_method": "imported",
                            "deconvolution_sha256": "", "parameters": "{}", "inputs": "{}"}
    targets_file.write(path, patients, expression, abundance.loc[patients], attributes)
    return set(patients), notes
