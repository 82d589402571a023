"""Which feature sets are compared, and which of their features: both cohorts' tables side by side.

Genes are those that are robustly predicted, and confident where that is asked for, in the training cohort. R compares
predicted with deconvolved *expression*; it does not know who responds, so it may be taken over all patients of a
cohort without telling the classifiers anything about response.
"""
import itertools
import logging

import pandas as pd

from slide_ex import ids, text_table
from slide_ex.ids import counted
from slide_ex.project import clinical_words, predictions_file, targets_file

MEAN_FEATURES = "mean features"
DIRECT = "direct", "direct network", "direct low-rank", "direct ridge"   # scores already, which nothing is fitted to
KINDS = {"Bulk": "bulk", "abundance": "abundance", **dict.fromkeys((*DIRECT, MEAN_FEATURES), "direct"),
         "mean colour": "mean colour", "clinical": "clinical"}  # of feature sets other than cell types
CELL_TYPES, PAIRS, TOP = "cell types", "pairs", "top triple"  # groups of feature sets on the command line
FEW_GENES = 25   # the classifiers may choose so many


def in_both(train, new, min_r, min_confidence, genes_from=None):
    """Feature sets of two cohorts (or twice the same) with the features that both have and that may be used.

    Sets that one cohort lacks and cell types without a usable gene are left out with a note.

    Returns
    -------
    dict of name to (train, new), each a DataFrame (patients x features)
        Cell types first. DIRECT are scores already and need no training cohort: their tables are there twice.
    """
    names = set(train.sets) | set(new.sets)
    pairs = {}
    for name in [*sorted(names - set(KINDS)), *(name for name in KINDS if name in names)]:
        if name not in new.sets or name not in train.sets and name not in DIRECT:
            lacking = train if name in new.sets else new
            logging.info(f"{name}: left out, not in {lacking.source.project}, {lacking.source.name}")
        elif name in DIRECT:
            pairs[name] = new.sets[name], new.sets[name]
        elif name == "clinical":
            pairs[name] = as_numbers(train.sets[name], new.sets[name])
        else:
            columns = list(train.sets[name])
            if KINDS.get(name, "bulk") == "bulk":
                columns = usable_genes(name, columns, train.source, new.source, min_r, min_confidence, genes_from)
            absent = [column for column in columns if column not in new.sets[name]]
            if absent:
                logging.info(f"{name}: {len(columns) - len(absent)} features in both cohorts; not in "
                             f"{new.source.project}: {counted(absent)}")
                columns = [column for column in columns if column in new.sets[name]]
            if columns:
                pairs[name] = train.sets[name][columns], new.sets[name][columns]
    return pairs


def kind_of(members):
    """What kind of row of the comparison has these members (sets): a value of KINDS, cell type or ensemble."""
    return "ensemble" if len(members) > 1 else KINDS.get(members[0], "cell type")


def n_genes(name, members, tables):
    """Genes of a row of the comparison, None where its features are no genes, or chosen anew in each part."""
    has_genes = {kind_of((member,)) for member in members} <= {"cell type", "bulk"} and name != TOP
    return sum(tables[member][0].shape[1] for member in members) if has_genes else None


def usable_genes(name, genes, source, new_source, min_r, min_confidence, genes_from):
    """Those of `genes` that are robust and confident where classifiers are trained; list of str, with a note.

    R and confidence are those of <name>_genes.csv in the results/ of the project genes_from, or beside the predictions
    where that is None. RNA has no R, and its confidence, in targets.h5, must be high in both cohorts (DECODEM).
    """
    path = predictions_file.table_of(genes_from / "results" if genes_from else source.folder, name)
    usable, limits, confidences = pd.Series(True, genes), [], []
    if source.name == "targets":
        confidences = [targets_file.read_confidence(rna.project / "targets.h5", name) for rna in {source, new_source}]
    elif path.is_file():
        table = text_table.read_results(path, "prediction/collect_results.py", ["gene", "pearson_r"]).set_index("gene")
        usable = table["pearson_r"].reindex(genes) > min_r
        limits, confidences = [f"R > {min_r:g}"], [table["confidence"]]
    else:
        limits = [f"robust or not: there is no {path}, see --genes-from"]
    if min_confidence is not None and confidences:
        limits.append(f"confidence >= {min_confidence:g}")
        for confidence in confidences:
            usable &= ~(confidence.reindex(genes) < min_confidence)  # a gene that the other cohort lacks goes later
    n = int(usable.sum())
    remark = "; left out, lower --min-r or --confidence" if n == 0 else "; few to choose from" if n < FEW_GENES else ""
    logging.info(f"{name}: {n} of {len(genes)} genes ({' and '.join(limits) or 'all'}){remark}")
    return list(usable.index[usable])


def as_numbers(train, new):
    """Clinical columns as numbers: as they are, or a column of 0 and 1 for each category of the training cohort.

    An empty cell is NaN among numbers, and 0 in all categories like a category that training does not have. ValueError
    for a column that is neither (clinical_words.as_numbers).
    """
    columns = {}
    for name in train:
        tables = train[name], new[name]
        both = pd.concat([column.rename_axis(None) for column in (tables if train is not new else tables[:1])])
        numbers = clinical_words.as_numbers(both, name, "clinical.csv")
        if numbers is not None:
            columns[name] = [numbers.iloc[:len(tables[0])], numbers.iloc[-len(tables[1]):]]
        else:
            known = set(train[name])
            unknown = sorted(set(new[name]) - known - {""})
            if unknown:
                logging.info(f"clinical: {name} holds words that training does not know: "
                             + ids.with_near_matches(unknown, sorted(known)))
            columns |= {f"{name}={category}": [column.eq(category).astype(float) for column in tables]
                        for category in sorted(set(train[name]) - {""})}
        empty = sorted({patient for column in tables for patient in column.index[column.eq("")]})
        if empty:
            logging.info(f"clinical: {name} is empty for {counted(empty)}")
    return tuple(pd.DataFrame({name: pair[side] for name, pair in columns.items()}) for side in (0, 1))


def say_telling(clinical, responded):
    """Name clinical features that part those who responded from the others without an error.

    Such a column may be the response in other words: pCR beside Response, or residual cancer burden.

    Parameters
    ----------
    clinical : DataFrame, patients x features
    responded : array-like of bool, of its rows
    """
    groups = clinical[responded], clinical[~responded]
    parted = [name for name in clinical if any(
        low[name].max() < high[name].min() for low, high in (groups, groups[::-1]))]
    if parted:
        logging.warning(f"clinical: {' or '.join(parted)} alone tells the response of every patient who has it without "
                        "an error: leave out of --clinical-columns what is the response in other words, or was known "
                        "after treatment only")


def arrays(tables, patients, scale_in_cohort):
    """Values of the patients who train and of those who are scored; dict of name to two float arrays (n_patients, ...).

    With scale_in_cohort each feature goes from 0 to 1 over the patients of a cohort, as in DECODEM; a score then
    depends on who else is scored.
    """
    made = {}
    for name, pair in tables.items():
        of_patients = [table.reindex(ids) for table, ids in zip(pair, (patients.ids, patients.new_ids))]
        if scale_in_cohort and name not in DIRECT:
            of_patients = [(table - table.min()) / (table.max() - table.min()).replace(0, 1) for table in of_patients]
        made[name] = tuple(table.to_numpy() for table in of_patients)
    return made


def chosen(requested, usable, known):
    """Rows of the comparison, dict of name to the sets that it averages.

    `requested` are feature sets, ensembles ("CAFs + PVL") and groups: all cell types, all pairs of them, and the
    top triple, which has all cell types as members until the training data choose three. None means all there are.
    `known` sets that are not `usable` are left out with a note, others raise a ValueError that names the known ones.
    """
    cell_types = [name for name in usable if name not in KINDS]
    if requested is None:
        requested = [CELL_TYPES, PAIRS, TOP, *(name for name in KINDS if name in usable)]
    rows = {}
    for name in requested:
        members = tuple(ids.cell_type(member, known) for member in name.split(ids.BETWEEN))
        if name == CELL_TYPES:
            rows |= {cell_type: (cell_type,) for cell_type in cell_types}
        elif name == PAIRS:
            rows |= {ids.BETWEEN.join(pair): pair for pair in itertools.combinations(cell_types, 2)}
        elif name == TOP and len(cell_types) > 2:
            rows[TOP] = tuple(cell_types)
        elif name != TOP and not set(members) <= known:
            hint = "; clinical needs --clinical-columns" if "clinical" in set(members) - known else ""
            raise ValueError(f"no feature set '{name}': there are {', '.join(sorted(known))}, and the groups "
                             f"'{CELL_TYPES}', '{PAIRS}' and '{TOP}'{hint}")
        elif set(members) <= set(usable):
            rows[ids.BETWEEN.join(members)] = members
        else:
            logging.info(f"{name}: left out, " + ("fewer than three cell types" if name == TOP else "see above"))
    if not rows:
        raise ValueError("no feature set is left, see above: lower --min-r or --confidence")
    return rows
