"""Make two demo cohorts, train on the first, predict the second, print the results against the known truth.

The stages are those of the plan (slide_ex/stages/plan.py), in its order, with options that make the demo quick; labels
and features of the second cohort are made while the first one trains. What is finished is skipped, so that a second run
takes seconds. With --composition the finished demo is copied, and the parts that learn from response are done again for
a response that follows the composition of the tissue instead of the state of its cells; the last tables show both laws.
Slides and expression stay what they were.

Reads   nothing; with --composition a finished demo
Writes  <project_path>, <project_path>_hospital2 (another hospital), <project_path>_model (two of the models, to give
        away); with --composition <project_path>_composition and <project_path>_composition_hospital2

    python data/run_demo.py demo
"""
import argparse
import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from slide_ex.script import STOPPED
from slide_ex.project import model_folder
from slide_ex.stages import plan

HEADINGS = {
    "demo cohort": "Demo cohort: slides, bulk expression and the truth behind them",
    "deconvolution": "Deconvolution: cell fractions and cell-type expression",
    "targets": "Targets: labels of confident genes",
    "slides": "Slides to tiles to features, random convolutions",
    "masks": "Masks of all slides in one PDF",
    "features": "Features of all slides in one file",
    "splits": "Folds, by patient",
    "expression": "Expression of each cell type",
    "abundance": "Abundance of the cell types",
    "direct": "Response, directly from slides",
    "results": "Out-of-fold predictions and statistics",
    "enrichment": "Gene sets among the genes that are predicted",
    "figures": "Figures",
    "maps": "Where in a slide",
    "report": "Report",
    "demo summary": "Predictions against the known truth"}
# Few patients leave few genes at the default confidence; at 0.5 a gene is more likely than not ranked right.
OPTIONS = {
    "targets": "--confidence 0.5 --bulk",
    "slides": "all --weights random",
    "splits": "--stratify response --inner 4",
    "expression": "all all all --model low-rank",
    "abundance": "all all --model low-rank",
    "direct": "all all --model both --hidden 128 --max-epochs 100 --patience 30"}
NETWORKS = ("all", "all", "CAFs", "Cancer Epithelial", "Bulk", "--hidden", "128", "--learning-rate", "1e-3",
            "--max-epochs", "100", "--patience", "15")
LABELS_AND_FEATURES = ("deconvolution", "targets", "slides", "masks", "features")
HOSPITAL_2 = ("--hospital", "2", "--patients", "50")
SEARCH = ("--search", "2", "--repeats", "1")    # fewer settings and seeds than the default, for speed
SETS = ("--features", "cell types", "Bulk", "abundance", "direct", "mean colour")
MAPPED = ("11", "--abundance", "Cancer Epithelial", "CAFs")   # slide and cell types of the map


def main(args):
    started = time.monotonic()
    project = args.project_path
    second = sibling(project, "hospital2")
    if args.composition:
        composition(project, second)
    else:
        demo(project, second)
    print(f"\nThe demo took {time.monotonic() - started:.0f} s, {cpu_seconds():.0f} s of CPU")


def demo(project, second):
    """Both hospitals, every stage; the second is made where the first leaves a core idle, until both are needed."""
    with beside("Another hospital", labels_and_features, second, *HOSPITAL_2):
        labels_and_features(project)
        models(project)
        from_models(project)
    run("The models of the first hospital on the slides of the second", plan.BY_NAME["predictions"].script, second,
        "--models", project)
    response_of_other(second, project)
    stage("figures", project, "--external", second)
    stage("report", project)
    stage("demo summary", project, "--external", second)


def models(project):
    """The models of the first hospital, and their results."""
    for name in ("splits", "expression"):
        stage(name, project)
    run("Networks of three targets, beside them", plan.BY_NAME["expression"].script, project, *NETWORKS)
    for name in ("abundance", "direct", "results"):
        stage(name, project)


def from_models(project):
    """Response from predicted expression, what else the figures show, a map of a slide, the models to give away."""
    response_inside(project)
    stage("enrichment", project, "--gmt", project / "gene_sets.gmt")
    stage("maps", project, *MAPPED)
    run("Two of the models, to give away", "prediction/export_model.py", project, sibling(project, "model"),
        "--cell-types", "CAFs", "abundance")


def labels_and_features(project, *cohort):
    """A cohort, its labels and its features."""
    stage("demo cohort", project, *cohort)
    for name in LABELS_AND_FEATURES:
        stage(name, project)


def response_inside(project):
    """Response of the first hospital from predicted expression, each patient by classifiers that did not see it."""
    run("Response from predicted expression, inside the first", plan.BY_NAME["response"].script, project, *SEARCH,
        *SETS)


def response_of_other(second, project):
    """Response of the second hospital, learned in the first."""
    run("Response of the second, learned in the first", plan.BY_NAME["response"].script, second, "--train-on", project,
        *SEARCH, *SETS)


def composition(project, second):
    """Once more who predicts response, when the composition of the tissue drives it, on copies of a finished demo."""
    if not (second / "predictions" / project.name / "predictions.h5").is_file():
        raise ValueError(f"{project} is no finished demo: run python data/run_demo.py {project} first")
    copy = sibling(project, "composition")
    copy_of_second = sibling(copy, "hospital2")
    for source, target in ((project, copy), (second, copy_of_second)):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, symlinks=True)
    direct = (model_folder.of_target(copy / "results", kind, "direct") for kind in model_folder.MODELS)
    for folder in (copy / "response", *direct, copy_of_second / "response", copy_of_second / "predictions"):
        shutil.rmtree(folder, ignore_errors=True)
    law = ("--response", "composition", "--overwrite")
    stage("demo cohort", copy, *law)
    stage("demo cohort", copy_of_second, *HOSPITAL_2, *law)
    stage("direct", copy)
    stage("results", copy)
    run("The models on the slides of the second", plan.BY_NAME["predictions"].script, copy_of_second, "--models", copy)
    pairs = ((project, second), (copy, copy_of_second))
    for first, other in pairs:
        response_inside(first)
        response_of_other(other, first)
        run("Response from RNA: the upper reference", plan.BY_NAME["response"].script, first, "--from", "targets",
            *SEARCH, "--features", "cell types", "Bulk", "abundance")
    for first, other in pairs:
        stage("demo summary", first, "--external", other)


def sibling(project, name):
    """The project folder <project>_<name>."""
    return project.with_name(f"{project.name}_{name}")


@contextlib.contextmanager
def beside(heading, function, *args):
    """Call function(*args) in another process while the block runs; what it prints follows what the block prints.

    The block comes first: the other takes what CPU time it leaves, and so fills what starts of scripts leave idle.
    Where the block fails or is stopped, the other is stopped, too; where the other fails, so does the demo, afterwards.
    """
    with tempfile.TemporaryFile("w+") as printed:
        other = multiprocessing.get_context("fork").Process(target=printing_into, args=(printed, function, *args))
        other.start()
        os.setpgid(other.pid, other.pid)    # here, too, so that it can be stopped from now on
        try:
            yield
            other.join()
        finally:
            if other.exitcode is None:
                os.killpg(other.pid, signal.SIGTERM)
                other.join()
            printed.seek(0)
            print(f"\n=== {heading}\n{printed.read()}", end="", flush=True)
    if other.exitcode:
        sys.exit(other.exitcode)


def printing_into(file, function, *args):
    """Call function(*args) in a process group of its own, with less priority; all that is printed goes to a file."""
    os.setpgid(0, 0)
    os.nice(5)
    for descriptor in (1, 2):   # stdout, stderr
        os.dup2(file.fileno(), descriptor)
    function(*args)


def stage(name, project, *words):
    """Run a stage of the plan on a project with the demo's options."""
    run(HEADINGS[name], plan.BY_NAME[name].script, project, *OPTIONS.get(name, "").split(), *words)


def run(heading, script, *words):
    """Run a script under a heading and say how long it took, in all and on CPUs; its failure ends the demo."""
    print(f"\n== {heading}", flush=True)
    started, cpu_before = time.monotonic(), cpu_seconds()
    done = subprocess.run([sys.executable, plan.ROOT / script, *map(str, words)])
    if done.returncode:
        sys.exit(done.returncode)
    print(f"   {time.monotonic() - started:.0f} s, {cpu_seconds() - cpu_before:.0f} s of CPU", flush=True)


def cpu_seconds():
    """CPU time of all scripts so far, which tells more than the clock where others use the machine, too."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("project_path", type=Path, help="the folder to make")
    p.add_argument("--composition", action="store_true", help="the other law of response, on copies of a finished demo")
    try:
        main(p.parse_args())
    except (ValueError, OSError) as problem:
        sys.exit(f"error: {problem}")
    except KeyboardInterrupt:
        sys.exit(STOPPED)
