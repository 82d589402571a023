"""Flips one bit in files of a finished project, or cuts them off, and runs the scripts that read them.

    python tests/spoiled_files.py PROJECTS WORK [N_CASES]

PROJECTS is a folder with the projects `home` and `away` and the bundle `bundle`, as tests/test_finished.py leaves them;
it is copied to WORK for each case. Of each kind of file, N_CASES bits are flipped (default 1) and N_CASES cuts are
made, of text as many more at the end of a line; one seed chooses file, place and bit. A case ends in one of four ways:

    refused   exit not 0, with one line that names the file
    told      exit 0, with a line that names the file
    same      exit 0, and every output has the bytes of an undisturbed run
    silent    exit 0, other outputs, and not a word: must not be

Prints one line of JSON: counts by kind of file and kind of fault, and what each silent or badly refused case was.
"""
import collections
import json
import runpy
import sys
from pathlib import Path

import numpy as np

import killed_runs

SEED = 17
DECONVOLUTION = "deconvolution/1main_deconvolution.py home --overwrite"
TARGETS = "deconvolution/prepare_targets.py home --confidence 0 --bulk --overwrite"
FEATURES = "slide_processing/collect_features.py home --overwrite"
MODEL = "prediction/1main_abundance_regression.py home 0 0 --hidden 8 --max-epochs 2 --processes 1 --overwrite"
LOW_RANK = "prediction/1main_abundance_regression.py home 0 all --model low-rank --processes 1 --overwrite"
DIRECT = "prediction/make_splits.py home --outer 2 --inner 2 --stratify response --overwrite"
RESULTS = "prediction/collect_results.py home --bootstrap 10 --partial --no-baselines --overwrite"
ENRICHMENT = "prediction/enrich_genes.py home --gmt home/gene_sets.gmt --top 20 --overwrite"
BUNDLE = "prediction/export_model.py home bundle --cell-types abundance --partial --overwrite"
BY_PROJECT = "prediction/predict_cohort.py away --models home --bootstrap 10 --partial --overwrite"
BY_BUNDLE = "prediction/predict_cohort.py away --models bundle --bootstrap 10 --partial --overwrite"
REPORT = "prediction/report.py home --overwrite"
READ_BY = {   # kind of file: a script that reads it whole
    "home/bulk_expression.tsv.gz": DECONVOLUTION, "home/signature.tsv.gz": DECONVOLUTION,
    "home/reference.tsv.gz": DECONVOLUTION, "home/metadata.csv": FEATURES, "home/clinical.csv": DIRECT,
    "home/deconvolution/expression.h5": TARGETS, "home/deconvolution/estimated_cell_fractions.txt": TARGETS,
    "home/deconvolution/confidence_score.txt": TARGETS, "home/deconvolution/target_genes.csv": REPORT,
    "home/features/*.h5": FEATURES, "home/features.h5": MODEL, "home/targets.h5": LOW_RANK, "home/splits.json": MODEL,
    "home/results/cell_fraction_preds/*/model_trained.pth": BUNDLE,
    "home/results/cell_fraction_preds/*/config.json": RESULTS,
    "home/results/cell_fraction_preds/*/predictions.h5": RESULTS,
    "home/results/cell_fraction_preds/*/history.csv": RESULTS, "home/results/predictions.h5": BUNDLE,
    "home/results/summary.csv": REPORT, "home/results/*_genes.csv": ENRICHMENT, "home/results/enrichment.csv": REPORT,
    "bundle/bundle.json": BY_BUNDLE, "bundle/abundance.safetensors": BY_BUNDLE,
    "bundle/training_range.safetensors": BY_BUNDLE, "away/features.h5": BY_PROJECT}
TEXT = (".csv", ".txt", ".json")


def main(projects, work, n_cases=1):
    projects, work, random = Path(projects).resolve(), Path(work).resolve(), np.random.default_rng(SEED)
    prepare()
    counts, faults, undisturbed = {}, [], {}
    for pattern, command in READ_BY.items():
        if command not in undisturbed:
            undisturbed[command] = expected(command, projects, work)
        for fault, spoil in cases(pattern, int(n_cases)):
            path = random.choice(sorted(projects.glob(pattern))).relative_to(projects)
            outcome, said = one_case(path, command, lambda content: spoil(content, random), projects, work,
                                     undisturbed[command])
            counts.setdefault(fault, {}).setdefault(pattern, collections.Counter())[outcome] += 1
            if outcome in ("silent", "badly refused"):
                faults.append(f"{fault}: {path}, {command.split()[0]}: {outcome}: {said}")
    print(json.dumps({"counts": counts, "faults": faults}))


def prepare():
    """Import what the scripts import, once for all runs."""
    import torch  # noqa: F401  which scripts import when there is something to do
    for script in sorted({command.split()[0] for command in READ_BY.values()}):
        sys.path.insert(0, str((killed_runs.ROOT / script).parent))
        runpy.run_path(str(killed_runs.ROOT / script), run_name="imported")


def cases(pattern, n_cases):
    """Name and function (content, generator) -> content of each case of a kind of file."""
    at_line = [("cut at the end of a line", cut_at_line)] if pattern.endswith(TEXT) else []
    return [("one bit", one_bit), ("cut", cut)] * n_cases + at_line * n_cases


def one_bit(content, random):
    spoiled = bytearray(content)
    spoiled[random.integers(len(content))] ^= 1 << random.integers(8)
    return bytes(spoiled)


def cut(content, random):
    return content[:random.integers(len(content))]


def cut_at_line(content, random):
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")][:-1]
    return content[:random.choice(ends[-5:])]


def expected(command, projects, work):
    """Bytes of all files after an undisturbed run."""
    killed_runs.restore(projects, work)
    code, said, _ = run(command, work)
    assert code == 0, f"{command}: {said}"
    return killed_runs.contents(work)


def one_case(path, command, spoil, projects, work, undisturbed):
    """How the command ended with a spoiled file (see above), and what it said."""
    killed_runs.restore(projects, work)
    before = (work / path).read_bytes()
    (work / path).write_bytes(spoil(before))
    code, said, lines = run(command, work)
    if code:
        is_line = said.count("\n") == 1 and said.startswith("error: ") and "Traceback" not in said
        is_named = any(name in said + lines for name in (path.name, path.parent.name))  # lines: of one model or slide
        return ("refused" if is_line and is_named else "badly refused"), f"exit {code}, {said[-400:]}"
    if any(path.name in line and "is not as" in line for line in lines.splitlines()):
        return "told", lines
    found = killed_runs.contents(work)
    different = {name for name in {**found, **undisturbed} if found.get(name) != undisturbed.get(name)} - {str(path)}
    return ("silent" if different else "same"), f"{sorted(different)[:5]}"


def run(command, work):
    """Exit code, stderr and stdout of a command in a forked process."""
    (script, *arguments), lines = command.split(), work.with_suffix(".stdout")
    code, errors = killed_runs.run(script, work, arguments, lines=lines)
    return code, errors, lines.read_text()


if __name__ == "__main__":
    main(*sys.argv[1:])
