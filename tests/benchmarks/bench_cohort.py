"""How time, memory and disk grow with the number of slides, stage by stage, by the scripts themselves.

    python tests/benchmarks/bench_cohort.py                                    # 100, 200 and 400 slides, in minutes
    python tests/benchmarks/bench_cohort.py --slides 1100 --cell-types 9 --genes 10000 --stages collect_features

Makes a project of features, labels and folds in the real formats for each number of slides (no images: what follows the
encoder is measured; figures and report have no slide to show), and runs the stages. Prints, a row a stage and
size, seconds, CPU seconds, peak memory of all its processes (GiB) and what it wrote (MB); then the exponent of growth,
the slope of log CPU seconds on log slides between the two largest sizes, and the seconds of CPU for --extrapolate
slides: the greater of the power law and the straight line through the two (a script has a start that does not grow).
"""
import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import measured_run
from slide_ex.project import feature_file, mask_file, metadata_file, targets_file

sys.path.insert(0, str(measured_run.ROOT / "slide_processing"))

from tiles import slide_mask  # noqa: E402

N_FEATURES, N_STATES = 2048, 20
SIDE = 20       # of a slide, tiles
AWAY = "away"   # folder of another cohort

STAGES = {
    "status": ("slide_processing/1main_processing.py", "all", "--status"),
    "collect_features": ("slide_processing/collect_features.py",),
    "make_splits": ("prediction/make_splits.py",),
    "low-rank models": ("prediction/1main_cs_exp_regression.py", "all", "all", "all", "--model", "low-rank"),
    "abundance": ("prediction/1main_abundance_regression.py", "all", "all", "--model", "low-rank"),
    "direct, low-rank": ("prediction/1main_direct.py", "all", "all", "--model", "low-rank"),
    "collect_results": ("prediction/collect_results.py",),
    "figures": ("prediction/figures.py",),
    "report": ("prediction/report.py",),
    "export_model": ("prediction/export_model.py", "BUNDLE"),
    "predict_cohort": ("prediction/predict_cohort.py", "--models", "BUNDLE"),     # of another cohort of that size
    "networks": ("prediction/1main_cs_exp_regression.py", "all", "0", "Type 1", "--max-epochs", "20"),
    "check_project": ("data/check_project.py",)}


def main(args):
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}; {args.tiles} tiles a slide, "
          f"{args.cell_types} cell types of {args.genes} genes\n"
          f"{'stage':18} slides  seconds      CPU      GiB       MB")
    rows = []
    for n_slides in args.slides:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            project = Path(folder) / "project"
            write(project, n_slides, args.tiles, args.cell_types, args.genes)
            if "predict_cohort" in (args.stages or STAGES):
                write(project.with_name(AWAY), n_slides, args.tiles, 1, 10, "Q")
                measured_run.run(STAGES["collect_features"][0], project.with_name(AWAY))
            for stage in args.stages or STAGES:
                before = size_of(folder)
                seconds, cpu, gib = run(stage, project)
                rows.append((stage, n_slides, cpu))
                print(f"{stage:18} {n_slides:6} {seconds:8.1f} {cpu:8.1f} {gib:8.2f} "
                      f"{(size_of(folder) - before) / 1e6:8.1f}", flush=True)
    for stage in dict.fromkeys(row[0] for row in rows) if len(args.slides) > 1 else ():
        (small, few), (large, many) = [(n, cpu) for name, n, cpu in rows if name == stage][-2:]
        exponent = np.log(many / few) / np.log(large / small)
        line = many + (many - few) / (large - small) * (args.extrapolate - large)
        power = many * (args.extrapolate / large) ** exponent
        print(f"{stage:18} exponent {exponent:5.2f}; {args.extrapolate} slides: {max(many, line, power):.0f} s of CPU")


def write(project, n_slides, n_tiles, n_cell_types, n_genes, prefix="P"):
    """Inputs of prediction as the stages before leave them: features show the states of a patient, labels too."""
    random = np.random.default_rng(0)
    ids, patients = [f"S{i:04d}" for i in range(n_slides)], [f"{prefix}{i:04d}" for i in range(n_slides)]
    for folder in ("features", "mask", "slides"):
        (project / folder).mkdir(parents=True)
    metadata_file.write(project / metadata_file.NAME, pd.DataFrame({
        "slide_id": ids, "patient_id": patients, "filename": [f"{slide_id}.svs" for slide_id in ids]}))
    page, mosaic = project / "page.pdf", np.full((SIDE * mask_file.THUMBNAIL_PX,) * 2 + (3,), 255, np.uint8)
    slide_mask.write_mask(page, mosaic, mosaic, ["a slide"])
    states = random.normal(size=(n_slides, N_STATES))
    seen = random.normal(size=(N_STATES, N_FEATURES)).astype(np.float32)
    for i, (slide_id, patient) in enumerate(zip(ids, patients)):
        shutil.copyfile(page, mask_file.path_of(project, slide_id))
        features = (states[i] @ seen + random.normal(size=(n_tiles, N_FEATURES), scale=3)).astype(np.float32)
        feature_file.write(feature_file.path_of(project, slide_id), features, np.zeros((n_tiles, 2)),
                            random.uniform(150, 250, (n_tiles, 3)), np.zeros((0, 2)),
                           attributes_of(slide_id, patient, i))
    expression = [(f"Type {k + 1}", [f"GENE{i}" for i in range(n_genes)],
                   (states @ random.normal(size=(N_STATES, n_genes)) + random.normal(size=(n_slides, n_genes), scale=6)
                    ).astype(np.float32), np.ones(n_genes)) for k in range(n_cell_types)]
    fractions = np.exp(states[:, :2])
    abundance = pd.DataFrame(fractions / fractions.sum(1, keepdims=True), patients, ["Type 1", "Type 2"])
    targets_file.write(project / targets_file.NAME, patients, expression, abundance,
                       {"log_base": 2, "min_confidence": 0., "deconvolution_method": "native"})
    pd.DataFrame({"Patient.ID": patients, "Response": np.where(states[:, 0] > 0, "pCR", "RD")}
                 ).to_csv(project / "clinical.csv", index=False)


def attributes_of(slide_id, patient, row):
    """Attributes of a slide's feature file as slide processing writes them."""
    return dict.fromkeys((*feature_file.OWN, *feature_file.DECIDING), "") | {
        "slide_id": slide_id, "patient_id": patient, "slide_index": row, "filename": f"{slide_id}.svs",
        "encoder": "resnet50", "encoder_version": 1, "weights": "imagenet", "weights_sha256": "0" * 64,
        "weights_seed": -1, "precision": "fp32", "normalisation": "macenko", "tile_px": 512, "magnification": 20,
        "slide_says_power": 20.0, "slide_says_mpp_x": 0.5, "slide_says_mpp_y": 0.5, "slide_magnification": 20.0,
        "magnification_source": "objective power of the slide", "scale_difference": 0.0, "level0_tile_px": 512,
        "level0_width": 512 * SIDE, "level0_height": 512 * SIDE, "n_rows": SIDE, "n_columns": SIDE,
        "n_tiles_total": SIDE ** 2, "n_dropped": 0, "n_outside": 0, "he_share": 1.0, "blurred_share": 0.0,
        "pen_share": 0.0}


def run(stage, project):
    """Seconds, CPU seconds and peak memory (GiB) of a stage."""
    script, *words = STAGES[stage]
    project = project.with_name(AWAY) if stage == "predict_cohort" else project
    return measured_run.run(script, project, *(project.with_name("bundle") if word == "BUNDLE" else word
                                               for word in words))


def size_of(folder):
    """Bytes that the files of a folder take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in Path(folder).rglob("*") if path.is_file())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, nargs="+", default=[100, 200, 400], metavar="N",
                        help="default %(default)s")
    parser.add_argument("--tiles", type=int, default=30, help="a slide, default %(default)s")
    parser.add_argument("--cell-types", type=int, default=2, help="default %(default)s")
    parser.add_argument("--genes", type=int, default=2000, help="of a cell type, default %(default)s")
    parser.add_argument("--stages", nargs="+", choices=STAGES, help="in their order; all by default")
    parser.add_argument("--extrapolate", type=int, default=1100, metavar="N", help="default %(default)s")
    parser.add_argument("--folder", help="for the projects, which are removed; default TMPDIR")
    main(parser.parse_args())
