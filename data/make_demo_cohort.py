"""Make a demo cohort: slides, bulk expression, signature and response of invented patients with known truth.

Picture and expression of a patient come from the same hidden cell fractions and states (hidden_truth.py); nothing
else links them. Most slides are 20x, every tenth 40x; the second has its magnification in metadata.csv only; the
last is nearly empty. The same seed gives the same files; other seeds give other patients of the same biology.
Hospital 2 has patients, stain and scanner of its own. --response says what drives response to chemotherapy: states of
cells, or the composition of the tissue (hidden_truth.py); it changes no other file than clinical.csv.

Reads   nothing
Writes  <project_path>/slides/*.svs, metadata.csv, bulk_expression.tsv.gz, signature.tsv.gz, reference.tsv.gz,
        clinical.csv, gene_sets.gmt (markers, and genes that a state raises in a cell type), truth/ (expression.h5 in
        the format of deconvolution/expression.h5, fractions.tsv, states.csv, parameters.json)

    python data/make_demo_cohort.py demo
    python data/make_demo_cohort.py demo_hospital2 --hospital 2 --patients 50
"""
import contextlib
import gzip
import logging
import math

from slide_ex.script import parser, run, whole

import cv2
import numpy as np
import pandas as pd

from demo_cohort import hidden_truth, paint_slide, write_svs
from demo_cohort.scan_slide import SCANNERS
from slide_ex import record, sharing
from slide_ex.project import expression_file
from slide_ex.stages import plan

MPP_20X = .5             # microns per pixel at 20x
BULK_NOISE_SD = .1       # of ln expression
TISSUE_SHARE = .77       # of a slide
NEARLY_EMPTY_PX2 = 1.3 * 512 ** 2  # of tissue at 20x: a little more than a tile
UNKNOWN_RESPONSE = .05   # share of patients
PARAMETERS = ("seed", "patients", "genes", "width_px", "height_px", "hospital", "response")
PREFIXES = {1: "DEMO", 2: "DEMO2"}  # of the patients of each hospital
LEAST = {"seed": 0, "patients": 1, "genes": 250, "width_px": 1024, "height_px": 1024}


def main(args):
    project = args.project_path
    parameters = {name: getattr(args, name) for name in PARAMETERS}
    patients = pd.Index([f"{PREFIXES[args.hospital]}-P{i:03d}" for i in range(1, args.patients + 1)], name="Patient.ID")
    slides = plan_slides(patients)
    if is_finished(project, parameters, slides, args.overwrite):
        logging.info("the demo cohort in %s is finished: skipped", project)
        return
    (project / "truth").mkdir(exist_ok=True)
    (project / "truth" / "parameters.json").unlink(missing_ok=True)
    rng = random_stream(args)
    biology = hidden_truth.biology(args.genes)
    states = hidden_truth.draw_states(rng, args.patients).set_index(patients)
    fractions = hidden_truth.draw_fractions(rng, states)
    write_tables(project, rng, biology, states, fractions, args.response)

    (project / "slides").mkdir(exist_ok=True)

    def work(slide):
        make_slide(project / "slides" / slide.Filename, random_stream(args, slide.Index), args.hospital,
                   (args.height_px, args.width_px), fractions.loc[slide.patient_id], states.loc[slide.patient_id],
                   slide.power, slide.in_header, slide.nearly_empty)
        logging.info("slide %s painted", slide.label)
    tasks = list(slides.rename(columns={"Slide.ID": "label", "Patient.ID": "patient_id"}).itertuples())
    sharing.share_all(tasks, work, sharing.n_cpus(), "slide", "painted")

    metadata = slides[["Slide.ID", "Filename", "Patient.ID"]].assign(
        Magnification=slides["power"].where(~slides["in_header"]))
    with whole(project / "metadata.csv") as part:
        metadata.to_csv(part, index=False, float_format="%g")
    *tables, marker = plan.outputs(project, "demo cohort")
    record.write(marker, parameters, [path for path in tables if path.suffix != ".h5"])


def random_stream(args, slide=0):
    """Generator of one slide (the first also draws the patients); each hospital has its own."""
    return np.random.default_rng([args.seed, slide, args.hospital - 1])


def is_finished(project, parameters, slides, overwrite):
    """Whether the cohort is there and was made with these parameters; refuses a folder that holds anything else."""
    *paths, marker = plan.outputs(project, "demo cohort")
    if (project / "metadata.csv").exists() and not (project / "truth").is_dir():
        raise ValueError(f"{project} holds a cohort that is not a demo (metadata.csv without truth/): "
                         "give another folder")
    return record.is_finished([*(project / "slides" / name for name in slides["Filename"]), *paths, marker],
                              lambda: record.read(marker, "data/make_demo_cohort.py"), parameters, overwrite,
                              remedy="give another folder, or --overwrite")


def write_tables(project, rng, biology, states, fractions, law):
    """Everything but the slides; the response follows the `law` of that name."""
    genes, profiles, programmes = biology
    expression = hidden_truth.draw_expression(rng, states, profiles, programmes)
    bulk = hidden_truth.mix(fractions, expression, BULK_NOISE_SD, rng)
    reference, signature = hidden_truth.draw_reference(rng, genes, profiles, programmes)
    response = pd.Series(hidden_truth.draw_response(rng, states, fractions, law), states.index, name="Response")
    response[rng.random(len(response)) < UNKNOWN_RESPONSE] = ""

    tables = {"bulk_expression.tsv.gz": pd.DataFrame(bulk, genes, states.index), "signature.tsv.gz": signature,
              "reference.tsv.gz": reference, "truth/fractions.tsv": fractions}
    for name, table in tables.items():
        text = table.rename_axis(table.index.name or "gene").to_csv(sep="\t", float_format="%.6g").encode()
        with whole(project / name) as part:
            part.write_bytes(gzip.compress(text, mtime=0) if name.endswith(".gz") else text)
    with whole(project / "gene_sets.gmt") as part:
        part.write_text("".join("\t".join([name, "of the demo", *members]) + "\n"
                                for name, members in hidden_truth.gene_sets(genes, programmes).items()))
    with whole(project / "truth" / "states.csv") as part:
        states.to_csv(part, float_format="%.6g")
    with whole(project / "clinical.csv") as part:
        response.to_csv(part)
    with whole(project / "truth" / "expression.h5") as part:
        expression_file.write(part, expression, bulk, hidden_truth.CELL_TYPES, genes, states.index,
                              "truth of the demo cohort", {}, {})


def plan_slides(patients):
    """One slide a patient and a second one for every fifteenth; the very last slide is nearly empty."""
    owners = [*((patient, 1) for patient in patients), *((patient, 2) for patient in patients[::15])]
    slides = pd.DataFrame({"Slide.ID": [f"{patient}-S{n}" for patient, n in owners],
                           "Patient.ID": [patient for patient, _ in owners]})
    slides["Filename"] = slides["Slide.ID"] + ".svs"
    slides["power"] = np.where(slides.index % 10 == 3, 40, 20)
    slides["in_header"] = slides.index != 1
    slides["nearly_empty"] = slides.index == len(slides) - 1
    return slides


def make_slide(path, rng, hospital, shape, fractions, states, power, in_header, nearly_empty):
    """Paint one slide of a patient and write it."""
    cv2.setNumThreads(1)  # one process a core
    share, towards = TISSUE_SHARE, math.pi / 2 * rng.integers(4) + rng.normal(0, .1)
    if nearly_empty:  # the first tile and a little around it
        share, towards = NEARLY_EMPTY_PX2 / (shape[0] * shape[1]), 1.25 * math.pi
    picture = paint_slide.paint(rng, shape, fractions, states, share, towards, SCANNERS[hospital])
    if power > 20:
        picture = cv2.resize(picture, None, fx=power / 20, fy=power / 20, interpolation=cv2.INTER_CUBIC)
    header = {"magnification": power, "mpp": MPP_20X * 20 / power} if in_header else {}
    with whole(path) as part:
        write_svs.write(part, picture, **header)


if __name__ == "__main__":
    p = parser(__doc__)
    p.add_argument("--hospital", type=int, choices=list(PREFIXES), default=1, help="default %(default)s")
    p.add_argument("--response", choices=list(hidden_truth.RESPONSE), default="states",
                   help="what drives it, default %(default)s")
    p.add_argument("--seed", type=int, default=1, help="default %(default)s")
    p.add_argument("--patients", type=int, default=80, help="default %(default)s")
    p.add_argument("--genes", type=int, default=1500, help="default %(default)s")
    p.add_argument("--width-px", type=int, default=1536, help="of a slide at 20x, default %(default)s")
    p.add_argument("--height-px", type=int, default=1536, help="of a slide at 20x, default %(default)s")
    arguments = p.parse_args()
    for name, least in LEAST.items():
        if getattr(arguments, name) < least:
            p.error(f"--{name.replace('_', '-')} {getattr(arguments, name)}: give {least} or more")
    with contextlib.suppress(OSError):  # what is wrong with the path is said by run()
        arguments.project_path.mkdir(parents=True, exist_ok=True)
    run(main, arguments, "make_demo_cohort")
