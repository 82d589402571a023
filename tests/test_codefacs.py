"""CODEFACS as an engine, with a program that stands in for Rscript and writes files in CODEFACS' formats."""
import os
import stat
import sys

import h5py
import numpy as np
import pandas as pd
import pytest

import mixed_cells
from sources import codefacs

SCRIPT = "deconvolution/1main_deconvolution.py"
STAND_IN = f"""#!{sys.executable}
import os, sys
import numpy as np, pandas as pd
if sys.argv[1] == "-e":
    sys.exit(os.environ.get("NO_RSLURM") == "1")
assert sys.argv[1] == "CODEFACS_v0.11.10_updated.r" and os.path.exists(sys.argv[1]), "not in the scripts folder"
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
assert options["-n"] == "3" and options["-e"] == "mem=1g"
bulk = pd.read_csv(options["-t"], sep="\\t")
assert bulk.columns[0] == "GENE" and (bulk["GENE"] == bulk["GENE"].str.upper()).all()
bulk = bulk.set_index("GENE")
types = pd.read_csv(options["-s"], sep="\\t", index_col=0).columns
print("Running CODEFACS", flush=True)
if os.environ.get("DAMAGE") == "nothing":
    sys.exit()
if os.environ.get("FAIL"):
    print("Error in slurm_call: out of memory"); sys.exit(1)
out, damage = options["-o"] + "/", os.environ.get("DAMAGE")
types = types.str.replace(" ", ".").str.replace("-", ".") if damage == "spelling" else types
in_r = [name.replace("-", ".") for name in bulk.columns]
for k, name in enumerate(types[damage == "missing type":]):
    table = (bulk * (k + 1)).set_axis(in_r, axis=1)
    table.index.name = None
    with open(f"{{out}}expression_{{name}}.txt", "w") as file:  # as write.table: quoted names, none for the row names
        file.write(" ".join(f'"{{c}}"' for c in table) + "\\n")
        table.to_csv(file, sep=" ", header=False, quoting=2, lineterminator="\\n")
score = pd.DataFrame(2. if damage == "confidence" else .9, bulk.index, types)
score.to_csv(out + "confidence_score.txt", sep="\\t", index_label=False)
share = pd.DataFrame(1 / len(types), in_r, types[::-1] if damage == "order" else types)
share.to_csv(out + "estimated_cell_fractions.txt", sep="\\t", index_label=False)
"""


@pytest.fixture
def cohort(tmp_path):
    """A project, a scripts folder, and an environment whose PATH has Rscript and sbatch that stand in."""
    data = mixed_cells.mix(n_genes=60, n_patients=14)
    data["bulk"].columns = [f"TCGA-{i:02d}" for i in range(14)]
    data["bulk"] = data["bulk"].rename(index={"GENE50": "Gene50"})
    project = mixed_cells.write(tmp_path / "project", data)
    scripts, programs = tmp_path / "scripts", tmp_path / "bin"
    scripts.mkdir()
    (scripts / codefacs.SCRIPTS[0]).touch()
    programs.mkdir()
    for name, text in (("Rscript", STAND_IN), ("sbatch", "#!/bin/sh\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    return project, scripts, os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}


def arguments(project, scripts):
    return [project, "--method", "codefacs", "--codefacs-dir", scripts, "--codefacs-args", "-e mem=1g -n 3"]


def test_a_run_is_followed_and_read(cohort, run_script, tmp_path):
    project, scripts, environment = cohort
    done = run_script(SCRIPT, *arguments(project, scripts), env=environment)
    assert done.returncode == 0, done.stderr
    assert "CODEFACS: Running CODEFACS" in done.stdout
    bulk = mixed_cells.mix(n_genes=60, n_patients=14)["bulk"].to_numpy()
    with h5py.File(project / "deconvolution/expression.h5") as file:
        assert file.attrs["method"] == "CODEFACS"
        assert file["cell_types"].asstr()[:].tolist() == mixed_cells.TYPES
        assert file["patient_ids"].asstr()[1] == "TCGA-01" and file["genes"].asstr()[50] == "Gene50"
        for k in range(4):
            np.testing.assert_allclose(file["expression"][k], bulk * (k + 1), rtol=1e-5)
    scores = pd.read_csv(project / "deconvolution/confidence_score.txt", sep="\t", index_col=0)
    assert (scores == .9).all(axis=None)
    other = mixed_cells.write(tmp_path / "other", mixed_cells.mix(n_genes=60, n_patients=14))
    (project / "bulk_expression.tsv").replace(other / "bulk_expression.tsv")
    again = run_script(SCRIPT, other, "--method", "codefacs", "--codefacs-output",
                       project / "deconvolution/codefacs/output")
    assert again.returncode == 0, again.stderr
    with h5py.File(other / "deconvolution/expression.h5") as file:
        np.testing.assert_allclose(file["expression"][3], bulk * 4, rtol=1e-5)


@pytest.mark.parametrize("damage, words", [
    ("order", "ordered differently"), ("missing type", "different cell types: Cancer Epithelial"),
    ("spelling", "nothing for cell types of the signature: Cancer Epithelial (Cancer.Epithelial?), T-cells (T.cells?)"),
    ("confidence", "missing or outside 0..1")])
def test_outputs_that_disagree_are_refused(cohort, run_script, damage, words):
    project, scripts, environment = cohort
    done = run_script(SCRIPT, *arguments(project, scripts), env=environment | {"DAMAGE": damage})
    assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1
    assert not (project / "deconvolution/expression.h5").exists()


def test_outputs_of_an_earlier_run_are_not_taken_for_those_of_one_that_wrote_nothing(cohort, run_script):
    project, scripts, environment = cohort
    assert run_script(SCRIPT, *arguments(project, scripts), env=environment).returncode == 0
    again = run_script(SCRIPT, *arguments(project, scripts), "--overwrite", env=environment | {"DAMAGE": "nothing"})
    assert again.returncode == 1 and "are of an earlier run: see its log" in again.stderr
    assert run_script(SCRIPT, *arguments(project, scripts), "--overwrite", env=environment).returncode == 0


def test_failures_are_one_line(cohort, run_script, tmp_path):
    project, scripts, environment = cohort

    def fails(words, arguments, **changes):
        done = run_script(SCRIPT, *arguments, env=environment | changes)
        assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr

    fails("out of memory", arguments(project, scripts), FAIL="1")
    fails("rslurm", arguments(project, scripts), NO_RSLURM="1")
    fails("no CODEFACS_v0.11.10_updated.r", arguments(project, tmp_path))
    fails("--codefacs-dir", [project, "--method", "codefacs"])
    fails("not finished", [project, "--method", "codefacs", "--codefacs-output", tmp_path])
    (tmp_path / "bin/sbatch").unlink()
    fails("no sbatch", arguments(project, scripts), PATH=str(tmp_path / "bin"))
    (tmp_path / "bin/Rscript").unlink()
    fails("no Rscript", arguments(project, scripts), PATH=str(tmp_path / "bin"))


def test_names_as_r_makes_them():
    assert [codefacs.in_r(name) for name in ("TCGA-A1 b", "1x", "_a", ".2")] == ["TCGA.A1.b", "X1x", "X_a", "X.2"]
