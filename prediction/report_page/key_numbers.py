"""The five numbers that a reader of a report wants first, each with what it is of, from the tables alone."""
import dataclasses

import numpy as np

from evaluation import result_tables

MODEL, BULK = "slide-ex", "Bulk"
ROBUST_R, ABUNDANCE_R = result_tables.R_THRESHOLDS[0], 0.6
NOT_THERE = "–"


@dataclasses.dataclass(frozen=True)
class KeyNumber:
    """A number, what it counts, and the words below it."""
    name: str
    value: str
    note: str = ""


def of_project(slides, tables):
    """The five, in their order; a dash where there is no table yet. list of KeyNumber.

    slides : DataFrame of slide_pictures.read_table
    tables : dict of path relative to the project to DataFrame
    """
    folder, whose = results_folder(tables)
    summary = tables.get(f"{folder}/summary.csv")
    model = None if summary is None else summary[summary["model"] == MODEL].set_index("target")
    return [patients(slides, model), of_slides(slides), genes(model, whose), abundance(tables, folder, whose),
            response(tables, folder, whose)]


def results_folder(tables):
    """Where the statistics of this cohort are, and by whose models: its own, or else those that predicted it."""
    others = sorted(path.split("/")[1] for path in tables if path.startswith("predictions/")
                    and path.endswith("/summary.csv"))
    if "results/summary.csv" in tables or not others:
        return "results", "out of fold"
    return f"predictions/{others[0]}", f"by the models of {others[0]}"


def patients(slides, model):
    in_results = f"{model['n_patients'].max():,.0f} in the results" if model is not None else "no results yet"
    return KeyNumber("patients", f"{slides['patient_id'].nunique():,}", in_results)


def of_slides(slides):
    done = (slides["status"] == "done").sum()
    tiles = f", {slides['tiles'].sum():,.0f} tissue tiles" if done else ""
    return KeyNumber("slides", f"{len(slides):,}", f"{done:,} with features{tiles}")


def genes(model, whose):
    """Genes above ROBUST_R of the cell type that has most of them, bulk aside, with the interval."""
    name, column = f"genes with R > {ROBUST_R}", f"n_r_above_{ROBUST_R:.2f}"
    is_there = model is not None and column in model
    counts = model[column].drop([BULK, "abundance"], errors="ignore").dropna() if is_there else ()
    if not len(counts):
        return KeyNumber(name, NOT_THERE, "no cell type is predicted yet")
    best = model.loc[counts.idxmax()]
    low, high = (best.get(f"n_r_{ROBUST_R:.2f}_{end}", np.nan) for end in ("low", "high"))
    of = f"of {best['n_genes']:,.0f} of {best.name}, the best cell type, {whose}"
    return KeyNumber(name, f"{best[column]:,.0f}", interval(low, high, 0) + of)


def abundance(tables, folder, whose):
    name, table = f"cell types whose abundance has R > {ABUNDANCE_R}", tables.get(f"{folder}/abundance.csv")
    if table is None:
        return KeyNumber(name, NOT_THERE, "abundance is not predicted yet")
    return KeyNumber(name, f"{(table['pearson_r'] > ABUNDANCE_R).sum()}", f"of {len(table)}, {whose}")


def response(tables, folder, whose):
    name, table = "AUC of response, direct model", tables.get(f"{folder}/direct.csv")
    if table is None:
        return KeyNumber(name, NOT_THERE, "response is not predicted yet")
    row = table.iloc[0]
    return KeyNumber(name, f"{row['auc']:.2f}", interval(row["auc_low"], row["auc_high"], 2)
                     + f"{row['n_pcr']:.0f} of {row['n_patients']:.0f} patients respond, {whose}")


def interval(low, high, digits):
    """'95 % interval 170 to 422; ', nothing where it is not known."""
    return f"95 % interval {low:,.{digits}f} to {high:,.{digits}f}; " if np.isfinite([low, high]).all() else ""
