"""CODEFACS as an engine: its inputs, its run, its outputs.

Wang et al., Cancer Discovery 2022, doi 10.1158/2159-8290.CD-21-0887. The user brings its R scripts, R with rslurm, and
a Slurm cluster.

    inputs    bulk.txt        tab-separated, genes x patients, TPM, first column GENE, upper case, no symbol twice
              signature.txt   tab-separated, genes x cell types
    outputs   expression_<cell type>.txt      space-separated, genes x patients
              confidence_score.txt            tab-separated, genes x cell types
              estimated_cell_fractions.txt    tab-separated, patients x cell types
"""
import re
import shutil
import subprocess

import numpy as np

from slide_ex import ids, numeric_table
from slide_ex.ids import some
from sources import fraction_table, label_tables

SCRIPTS = ("CODEFACS_v0.11.10_updated.r", "CODEFACS_v0.11.10.r")  # for R 4.3 and R 3.6
DEFAULT_ARGUMENTS = "-e mem=80g,time=96:00:00 -n 15"  # Slurm options and number of jobs, as its authors run it
BLANK = " "


def write_inputs(folder, bulk, signature):
    """bulk.txt and signature.txt in `folder`."""
    for name, table in (("bulk", bulk), ("signature", signature)):
        table.rename(index=str.upper).to_csv(folder / f"{name}.txt", sep="\t", index_label="GENE", float_format="%.8g")


def script_in(codefacs_folder):
    """Path of the R script; raises where it, R, rslurm or Slurm is missing."""
    found = [codefacs_folder / name for name in SCRIPTS if (codefacs_folder / name).is_file()]
    if not found:
        raise FileNotFoundError(f"no {' or '.join(SCRIPTS)} in {codefacs_folder}: give the scripts folder of your copy "
                                "of CODEFACS with --codefacs-dir")
    for program, remedy in (("Rscript", "install R, or load its module"),
                            ("sbatch", "CODEFACS sends its jobs to Slurm: run this on a login node")):
        if not shutil.which(program):
            raise FileNotFoundError(f"no {program} on the PATH: {remedy}")
    if subprocess.run(["Rscript", "-e", "library(rslurm)"], capture_output=True).returncode:
        raise FileNotFoundError("R has no package rslurm, which CODEFACS needs: install.packages(\"rslurm\")")
    return found[0]


def follow(script, inputs, output, arguments):
    """Run CODEFACS in its scripts folder, where it must be started; yields the lines that it prints.

    Raises RuntimeError with its last line when it fails. It is stopped when the generator is closed."""
    command = ["Rscript", script.name, "-t", str(inputs / "bulk.txt"), "-s", str(inputs / "signature.txt"),
               *arguments, "-o", str(output)]
    process = subprocess.Popen(command, cwd=script.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    last = "it printed nothing"
    try:
        for line in process.stdout:
            if line.strip():
                last = line.strip()
                yield last
        if process.wait():
            raise RuntimeError(f"CODEFACS ended with exit code {process.returncode}: {last}")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def read_outputs(folder, patients, genes):
    """Checked outputs of a finished run.

    Parameters
    ----------
    folder : Path
    patients, genes : index of the bulk table that was given to CODEFACS

    Returns
    -------
    fractions : DataFrame (n_patients, n_cell_types), rows in the order of `patients`
    confidence : DataFrame (n_genes, n_cell_types), genes spelled as in `genes`
    expression : ndarray float32 (n_cell_types, n_genes, n_patients)
    """
    names = ("confidence_score.txt", "estimated_cell_fractions.txt")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"no {' and no '.join(missing)} in {folder}: the CODEFACS run is not finished, see its "
                                "log")
    confidence = numeric_table.read(folder / names[0])
    fractions, _ = fraction_table.read(folder / names[1])
    if list(confidence.columns) != list(fractions.columns):
        raise ValueError(f"{folder}: cell types differ or are ordered differently in confidence_score.txt "
                         f"({', '.join(confidence)}) and estimated_cell_fractions.txt ({', '.join(fractions)})")
    files = {re.fullmatch(r"expression_(.+)\.txt", path.name)[1]: path for path in folder.glob("expression_*.txt")}
    if set(files) != set(confidence.columns):
        raise ValueError(f"{folder}: expression_<cell type>.txt and confidence_score.txt are about different cell "
                         f"types: {some(sorted(set(files) ^ set(confidence.columns)))}")
    ids.refuse_cell_types(confidence.columns, folder / "confidence_score.txt")
    label_tables.refuse_no_confidence(confidence, folder / "confidence_score.txt")
    own = renamed(confidence.index, genes.str.upper(), genes, folder / "confidence_score.txt")
    fractions.index = renamed(fractions.index, patients.map(in_r), patients, folder / "estimated_cell_fractions.txt")
    expression = np.stack([read_expression(files[cell_type], confidence.index, patients) for cell_type in confidence])
    return complete(fractions, patients, folder), confidence.set_axis(own), expression


def files(folder):
    """{name: path} of the outputs in a folder, none without a folder."""
    return {path.name: path for path in sorted(folder.glob("*.txt"))} if folder else {}


def refuse_older(folder, than):
    """ValueError for outputs in a folder that are older than the inputs in another one: of an earlier run."""
    begun = (than / "bulk.txt").stat().st_mtime_ns
    older = [name for name, path in files(folder).items() if path.stat().st_mtime_ns < begun]
    if older:
        raise ValueError(f"CODEFACS ended without an error, but {some(older)} in {folder} are of an earlier run: see "
                         "its log, move that folder away, and run again")


def read_expression(path, genes, patients):
    """One cell type: float32 (n_genes, n_patients)."""
    table = numeric_table.read(path, BLANK)
    table.columns = renamed(table.columns, patients.map(in_r), patients, path)
    if set(table.index) != set(genes) or not table.index.is_unique:
        raise ValueError(f"{path}: its genes are not those of confidence_score.txt")
    table = complete(table.T, patients, path).T.loc[genes]
    if not np.isfinite(table).all(axis=None):
        raise ValueError(f"{path}: missing or infinite values")
    return table.to_numpy(np.float32)


def renamed(names, keys, originals, path):
    """`names` as they are spelled in `originals`, found by `keys` (as R or upper case spells the originals)."""
    spelled = dict(zip(keys, originals)) | dict(zip(originals, originals))
    unknown = [name for name in names if name not in spelled]
    if unknown:
        raise ValueError(f"{path}: not in bulk_expression: {some(unknown)}: is this a run of other data?")
    return [spelled[name] for name in names]


def complete(table, patients, path):
    """The table with its rows in the order of `patients`; ValueError when one is missing."""
    missing = patients.difference(table.index)
    if len(missing):
        raise ValueError(f"{path} lacks patients of bulk_expression: {some(missing)}")
    return table.loc[patients]


def in_r(name):
    """A column name as R makes it syntactic: TCGA-A1-A0SB becomes TCGA.A1.A0SB."""
    syntactic = re.sub(r"[^\w.]", ".", name)
    return "X" + syntactic if re.match(r"\d|_|\.\d", syntactic) else syntactic
