"""Predictions of another cohort against its own labels, and its robust genes against those of the training cohort."""
import logging

import numpy as np
import pandas as pd

from evaluation import association, intervals, out_of_fold, result_tables
from slide_ex.ids import counted
from slide_ex.project import clinical_file, predictions_file, targets_file

MIN_PATIENTS = 3  # with labels, for a correlation
ROBUST_R = result_tables.R_THRESHOLDS[0]


def read_labels(project, names):
    """The cohort's labels of the named targets, dict of name to targets_file.Target; what has none is logged."""
    readers = targets_file.readers(project) if (project / "targets.h5").is_file() else {}
    readers.pop("direct", None)
    clinical = project / "clinical.csv"
    if "direct" in names and clinical.is_file():
        if clinical_file.has_responses(clinical) and len(set(clinical_file.known_responses(clinical).values())) == 2:
            readers["direct"] = lambda: targets_file.read_response(clinical)
    without = [name for name in names if name not in readers]
    if without:
        logging.info(f"predicted without statistics, no labels here (direct: no pCR, or no RD): {', '.join(without)}")
    return {name: readers[name]() for name in names if name in readers}


def joined(name, predicted, target):
    """OutOfFold of the patients and outputs that have both predictions and labels; None where they are too few.

    What only one side has is counted in the log.
    """
    outputs = predicted.outputs[np.isin(predicted.outputs, target.outputs)]
    patients = predicted.patient_ids[np.isin(predicted.patient_ids, target.patient_ids)]
    for kind, there, here in (("outputs", predicted.outputs, target.outputs),
                              ("patients", predicted.patient_ids, target.patient_ids)):
        for only, what in ((there[~np.isin(there, here)], "predicted without labels"),
                           (here[~np.isin(here, there)], "labelled without predictions")):
            if len(only):
                logging.info(f"{name}: {kind} {what}: {counted(only)}")
    labels = pd.DataFrame(target.labels, target.patient_ids, target.outputs).loc[patients, outputs].to_numpy()
    if len(patients) < MIN_PATIENTS or not len(outputs) or name == "direct" and len(np.unique(labels)) < 2:
        of_what = "one class" if name == "direct" else f"{len(outputs)} outputs"
        logging.info(f"{name}: no statistics of {len(patients)} patients and {of_what}")
        return None
    predictions = pd.DataFrame(predicted.predictions, predicted.patient_ids, predicted.outputs).loc[patients, outputs]
    return out_of_fold.OutOfFold(patients, outputs, labels, predictions.to_numpy())


def with_nan(predicted, known):
    """Labels in the shape of all predictions, NaN where there are none; None where there are none at all."""
    if known is None:
        return None
    labels = pd.DataFrame(known.labels, known.patient_ids, known.outputs)
    return labels.reindex(index=predicted.patient_ids, columns=predicted.outputs).to_numpy(np.float32)


def overlap(cell_type, r_training, table):
    """One row: robust genes (R > 0.4) of both cohorts among the genes of both, with the hypergeometric p of so many.

    NaN where a cohort has no robust gene: there is nothing to test.

    r_training : Series of R by gene
    table : DataFrame with gene and pearson_r, of the new cohort
    """
    from scipy import stats  # takes a second, which scripts without labels need not wait
    both = pd.DataFrame({"training": r_training, "here": table.set_index("gene")["pearson_r"]}).dropna()
    training, here = both["training"] > ROBUST_R, both["here"] > ROBUST_R
    n_both = (training & here).sum()
    p = stats.hypergeom.sf(n_both - 1, len(both), training.sum(), here.sum())
    return {"cell_type": cell_type, "n_genes": len(both), "n_robust_training": training.sum(),
            "n_robust_here": here.sum(), "n_both": n_both,
            "p_hypergeometric": p if training.any() and here.any() else np.nan}


class Tables:
    """Statistics of one target after the other, as collect_results.py makes them, and what sums them up."""

    def __init__(self, targets_path, n_bootstrap, seed):
        self.targets_path, self.n_bootstrap, self.seed = targets_path, n_bootstrap, seed
        self.tables, self.summary, self.overlaps = {}, [], []

    def add(self, name, predicted, target, r_training, half_widths=None):
        """Compare the CohortPrediction of a target with its labels; half_widths: of its intervals (n_outputs,)."""
        of_both = joined(name, predicted, target)
        if of_both is None:
            return
        table = result_tables.of_target(name, of_both, self.targets_path, self.n_bootstrap, self.seed)
        row = result_tables.summary_row(name, "slide-ex", of_both, self.n_bootstrap, self.seed)
        quality = "auc" if name == "direct" else "median_r"
        said = f"{name}: {row['n_patients']} patients with labels, {quality} {row[quality]:.3f}"
        if half_widths is not None:
            width = pd.Series(half_widths, predicted.outputs)[of_both.outputs].to_numpy()
            table[intervals.NAME] = width
            table[intervals.COVERED] = intervals.coverage(of_both.labels, of_both.predictions, width)
            row[intervals.COVERED] = table[intervals.COVERED].mean()
            said += f", {row[intervals.COVERED]:.0%} of the labels inside the intervals of {intervals.COVERAGE:.0%}"
        logging.info(said)
        self.tables[predictions_file.table_name(name)] = table
        self.summary.append(row)
        if name not in predictions_file.GROUPS:
            if len(r_training):
                self.overlaps.append(overlap(name, r_training, table))
            else:
                logging.info(f"{name}: no overlap of robust genes, the training cohort has no results/{name}_genes.csv")

    def finished(self):
        """All tables by file name, without suffix; none without labels."""
        summed = {name: pd.DataFrame(rows) for name, rows in (("summary", self.summary), ("overlap", self.overlaps))
                  if rows}
        if "overlap" in summed:
            p = summed["overlap"]["p_hypergeometric"]
            summed["overlap"]["p_benjamini_hochberg"] = association.benjamini_hochberg(p)
        return self.tables | summed
