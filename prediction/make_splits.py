"""Draw the nested folds, once, by patient: 5 outer folds, each with 5 inner ones.

Reads   <project_path>/features.h5 and targets.h5 (patients with both are drawn; the others are listed),
        clinical.csv with --stratify
Writes  <project_path>/splits.json, never over another one without --overwrite

    python prediction/make_splits.py demo
"""
import json
import logging

import cohort_files
import patient_splits
import prediction_script


def main(args):
    path = args.project_path / "splits.json"
    slides = cohort_files.read_slides(args.project_path / "features.h5")
    target = cohort_files.read_abundance(args.project_path / "targets.h5")
    patients = common_patients(slides, target)
    strata = None
    if args.stratify:
        response = cohort_files.read_response(args.project_path / "clinical.csv")
        strata = {patient: str(label) for patient, label in zip(response.patient_ids, response.labels[:, 0])}
    splits = patient_splits.draw(patients, args.outer, args.inner, args.seed, strata)
    if path.is_file() and not args.overwrite:
        if json.loads(path.read_text()) != splits:
            raise ValueError(f"{path} exists and holds other folds than these: folds are drawn once; keep them, or "
                             "draw new ones with --overwrite and train all models again")
        logging.info(f"splits: finished ({path})")
        return
    with prediction_script.whole(path) as part:
        part.write_text(json.dumps(splits, indent=1))
    logging.info(f"splits: {len(patients)} patients, {args.outer} x {args.inner} folds, seed {args.seed} ({path})")


def common_patients(slides, target):
    """Patients with slides and labels; those with only one of the two are listed."""
    with_slides, with_labels = set(slides.patient_ids), set(target.patient_ids)
    for lacking, what in ((with_slides - with_labels, "labels"), (with_labels - with_slides, "slides with tissue")):
        if lacking:
            logging.info(f"left out, no {what}: {', '.join(sorted(lacking))}")
    if not with_slides & with_labels:
        raise ValueError("no patient has both slides (features.h5) and labels (targets.h5): compare the patient ids, "
                         f"e.g. {min(with_slides)} and {min(with_labels)}")
    return sorted(with_slides & with_labels)


if __name__ == "__main__":
    parser = prediction_script.parser(__doc__)
    parser.add_argument("--outer", type=int, default=5, help="outer folds, default %(default)s")
    parser.add_argument("--inner", type=int, default=5, help="inner folds, default %(default)s")
    parser.add_argument("--seed", type=int, default=42, help="default %(default)s")
    parser.add_argument("--stratify", choices=["response"], help="give every fold its share of pCR, RD and unknown")
    prediction_script.run(main, parser.parse_args(), "splits")
