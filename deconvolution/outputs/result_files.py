"""What 1main_deconvolution.py leaves in <project_path>/deconvolution, whichever method made it."""
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from slide_ex.project import expression_file
from slide_ex.script import whole


@dataclass
class Result:
    """fractions (patients x cell types), confidence (genes x cell types), expression float32 (n_cell_types, n_genes,
    n_patients) and bulk (genes x patients), all in one order; notes: what the user should know, one line each."""
    method: str
    fractions: pd.DataFrame
    confidence: pd.DataFrame
    expression: np.ndarray
    bulk: pd.DataFrame
    notes: list = field(default_factory=list)


def write(folder, result, parameters, inputs, with_text):
    """All files; expression.h5 last, because it tells a later run that the others are there."""
    genes, patients, cell_types = result.bulk.index, result.bulk.columns, result.confidence.columns
    from outputs import report  # matplotlib takes a second to start, which bad input and a skipped re-run need not

    (folder / "expression.h5").unlink(missing_ok=True)
    summary = summarise(result)
    tables = {"estimated_cell_fractions.txt": (result.fractions, "\t"),
              "confidence_score.txt": (result.confidence, "\t"), "summary.csv": (summary.rename_axis("cell_type"), ",")}
    if with_text:  # as CODEFACS writes it
        tables |= {f"expression_{cell_type}.txt": (pd.DataFrame(result.expression[k], genes, patients), " ")
                   for k, cell_type in enumerate(cell_types)}
    for name, (table, separator) in tables.items():
        with whole(folder / name) as part:
            table.to_csv(part, sep=separator, float_format="%.6g")
    with whole(folder / "report.pdf") as part:
        report.draw(part, result, summary)
    with whole(folder / "expression.h5") as part:
        expression_file.write(part, result.expression, result.bulk.to_numpy(), cell_types, genes, patients,
                              result.method, parameters, inputs)
    return summary


def summarise(result):
    """Per cell type: mean fraction, genes by confidence, and how much the estimate mirrors bulk, the median over genes
    of Pearson's r between estimate and bulk over patients."""
    rows = {}
    for k, cell_type in enumerate(result.confidence):
        score = result.confidence[cell_type]
        rows[cell_type] = {"mean_fraction": result.fractions[cell_type].mean(),
                           "n_confident_0.95": int((score >= .95).sum()), "n_confident_0.99": int((score >= .99).sum()),
                           "median_confidence": score.median(),
                           "median_r_with_bulk": np.nanmedian(pearson(result.expression[k], result.bulk.to_numpy()))}
    return pd.DataFrame.from_dict(rows, orient="index")


def pearson(a, b):
    """Pearson's r of each row of a and b (n_rows, n_columns); NaN for a constant row."""
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    norm = np.sqrt(np.sum(a ** 2, axis=1) * np.sum(b ** 2, axis=1))
    return np.divide(np.sum(a * b, axis=1), norm, out=np.full(len(a), np.nan), where=norm > 0)
