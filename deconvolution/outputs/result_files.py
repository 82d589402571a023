"""What 1main_deconvolution.py leaves in <project_path>/deconvolution, whichever method made it."""
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from outputs import target_labels
from slide_ex import checksums, record
from slide_ex.project import expression_file
from slide_ex.script import whole
from slide_ex.stages import plan

TEXT = ("deconvolution/expression_<cell type>.txt",)    # with --text


@dataclass
class Result:
    """fractions (patients x cell types), confidence (genes x cell types), expression float32 (n_cell_types, n_genes,
    n_patients) and bulk (genes x patients), all in one order; notes: what the user should know, one line each;
    n_states: of each cell type, of reference_states and reference_donors, that were used (Series), or None."""
    method: str
    fractions: pd.DataFrame
    confidence: pd.DataFrame
    expression: np.ndarray
    bulk: pd.DataFrame
    notes: list = field(default_factory=list)
    n_states: pd.Series | None = None


def paths(project_path, cell_types, with_text):
    """All files, expression.h5, which has the record, last."""
    return plan.outputs(project_path, "deconvolution", also=TEXT if with_text else (), cell_type=list(cell_types))


def is_finished(project_path, now, overwrite):
    """Whether all files are there, made as now: dict of parameters and inputs. ValueError for other ones."""
    marker = paths(project_path, (), False)[-1]
    if overwrite or not marker.is_file():
        return False
    made = expression_file.read_record(marker)
    cell_types = expression_file.read_names(marker)[0]
    return record.is_finished(paths(project_path, cell_types, now["parameters"]["text"]),
                              lambda: made["parameters"] | made["inputs"], now["parameters"] | now["inputs"],
                              remedy="run with --overwrite to redo it")


def write(project_path, result, parameters, inputs, with_text):
    """All files; expression.h5 last, because it tells a later run that the others are there."""
    genes, patients, cell_types = result.bulk.index, result.bulk.columns, result.confidence.columns
    from outputs import report  # matplotlib takes a second to start, which bad input and a skipped re-run need not

    *texts, fractions, confidence, table, drawing, marker = paths(project_path, cell_types, with_text)
    marker.unlink(missing_ok=True)
    summary = summarise(result)
    tables = {fractions: (result.fractions, "\t"), confidence: (result.confidence, "\t"),
              table: (summary.rename_axis("cell_type"), ",")}
    tables |= {path: (pd.DataFrame(result.expression[k], genes, patients), " ")    # as CODEFACS writes it
               for k, path in enumerate(texts)}
    for path, (content, separator) in tables.items():
        with whole(path) as part:
            content.to_csv(part, sep=separator, float_format="%.6g")
    with whole(drawing) as part:
        report.draw(part, result, summary)
    with whole(marker) as part:
        expression_file.write(part, result.expression, result.bulk.to_numpy(), cell_types, genes, patients,
                              result.method, parameters, inputs, checksums.of_files(tables, marker.parent))
    return summary


def summarise(result):
    """Per cell type: mean fraction, genes by confidence, and medians over genes of Pearson's r over patients: of
    estimate and bulk (how much it mirrors bulk), of log2(estimate + 1) and the type's own fraction (whether it is
    abundance); with states how many were used."""
    rows = {}
    for k, cell_type in enumerate(result.confidence):
        score = result.confidence[cell_type]
        rows[cell_type] = {"mean_fraction": result.fractions[cell_type].mean(),
                           "n_confident_0.95": int((score >= .95).sum()), "n_confident_0.99": int((score >= .99).sum()),
                           "median_confidence": score.median(),
                           "median_r_with_bulk": np.nanmedian(pearson(result.expression[k], result.bulk.to_numpy())),
                           "median_r_with_fraction": target_labels.r_with_fraction(
                               np.log2(result.expression[k].T + 1), result.fractions[cell_type].to_numpy())}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table if result.n_states is None or not result.n_states.any() else table.assign(n_states=result.n_states)


def pearson(a, b):
    """Pearson's r of each row of a and b (n_rows, n_columns); NaN for a constant row."""
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    norm = np.sqrt(np.sum(a ** 2, axis=1) * np.sum(b ** 2, axis=1))
    return np.divide(np.sum(a * b, axis=1), norm, out=np.full(len(a), np.nan), where=norm > 0)
