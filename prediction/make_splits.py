"""Draw the nested folds, once, by patient: 5 outer folds, each with 5 inner ones.

Reads   <project_path>/features.h5 and targets.h5 (patients with both are drawn; the others are listed);
        clinical.csv with --stratify (column Response) and --group-by (column Site; without it the TCGA site code)
Writes  <project_path>/splits.json, never over other folds without --overwrite

    python prediction/make_splits.py demo
    python prediction/make_splits.py demo --stratify response
    python prediction/make_splits.py tcga --group-by site

--import takes folds of another program: a CSV with the columns outer, inner, part (train, valid, test), Patient.ID,
or a JSON object of train, valid and test, lists [outer][inner] of patient ids or slide indexes.
"""
import logging
from pathlib import Path

from slide_ex import script
from slide_ex import checksums, record
from slide_ex.ids import counted
from slide_ex.project import clinical_file, description_file, features_file, splits_file, targets_file
from training import patient_splits


def main(args):
    path = args.project_path / "splits.json"
    clinical_file.record_words(args.project_path, args)
    slides = features_file.read_slides(args.project_path / "features.h5")
    target = targets_file.read_abundance(args.project_path / "targets.h5")
    patients = common_patients(slides, target)
    clinical = args.project_path / clinical_file.NAME
    if clinical_file.has_responses(clinical):
        clinical_file.compare(clinical, patients)
    if args.import_path:
        splits = imported(args.import_path, slides, patients)
    else:
        strata = clinical_file.read_responses(clinical) if args.stratify else None
        splits = patient_splits.draw(patients, args.outer, args.inner, args.seed, strata,
                                     groups(clinical, patients) if args.group_by else None)
        splits |= {"stratify": args.stratify, "group_by": args.group_by}
    splits_file.check(splits, args.import_path or path)
    patient_splits.refuse_small_parts(splits)
    lacking = splits_file.one_class(splits, responses(clinical))
    if lacking:
        said = description_file.read(args.project_path)
        logging.warning(f"no {said.responder} or no {said.non_responder} in {counted(lacking)}: the direct model "
                        "cannot be trained there; give --stratify response, or fewer folds with --inner and --outer")
    if path.is_file() and not args.overwrite:
        if record.read(path, splits_file.MADE_BY) != record.plain(splits):
            raise ValueError(f"{path} exists and holds other folds than these: folds are drawn once; keep them, or "
                             "draw new ones with --overwrite and train all models again")
        logging.info(f"splits: finished ({path})")
        return
    splits_file.write(path, splits)
    logging.info(f"splits: {len(splits['patients'])} patients, {splits['n_outer']} x {splits['n_inner']} folds "
                 f"({path})")


def common_patients(slides, target):
    """Patients with slides and labels; those with only one of the two are listed."""
    with_slides, with_labels = set(slides.patient_ids), set(target.patient_ids)
    for lacking, what in ((with_slides - with_labels, "labels"), (with_labels - with_slides, "slides with tissue")):
        if lacking:
            logging.info(f"left out, no {what}: {counted(sorted(lacking))}")
    if not with_slides & with_labels:
        raise ValueError("no patient has both slides (features.h5) and labels (targets.h5): compare the patient ids, "
                         f"e.g. {min(with_slides)} and {min(with_labels)}")
    return sorted(with_slides & with_labels)


def responses(clinical):
    """Known response of each patient, none where there is no clinical.csv with a column Response."""
    given = clinical_file.read_responses(clinical) if clinical_file.has_responses(clinical) else {}
    return {patient: response for patient, response in given.items() if response}


def groups(clinical, patients):
    """Site of each patient: from the column Site of clinical.csv, or else from TCGA barcodes."""
    if not clinical_file.has_column(clinical, "Site"):
        return patient_splits.sites(patients)
    given = clinical_file.read_groups(clinical, "Site")
    lacking = [patient for patient in patients if not given.get(patient)]
    if lacking:
        raise ValueError(f"{clinical}, column Site: empty for {counted(lacking)}")
    return given


def imported(path, slides, patients):
    """Folds from another program's file, with its checksum; patients that are in no fold are listed."""
    splits = patient_splits.from_table(path, slides, patients)
    outside = sorted(set(patients) - set(splits["patients"]))
    if outside:
        logging.info(f"in no fold of {path}, so not used: {counted(outside)}")
    return {"imported": checksums.of_file(path), **splits}


if __name__ == "__main__":
    parser = script.parser(__doc__)
    parser.add_argument("--outer", type=int, default=5, help="outer folds, default %(default)s")
    parser.add_argument("--inner", type=int, default=5, help="inner folds, default %(default)s")
    parser.add_argument("--seed", type=int, default=42, help="default %(default)s")
    parser.add_argument("--stratify", choices=["response"], help="give every fold its share of responders (pCR), "
                        "non-responders (RD) and unknown")
    description_file.add_response_options(parser)
    parser.add_argument("--group-by", choices=["site"], help="keep the patients of a site on one side of each fold")
    parser.add_argument("--import", dest="import_path", type=Path, metavar="FILE",
                        help="take folds from a .csv or .json")
    script.run(main, parser.parse_args(), "splits")
