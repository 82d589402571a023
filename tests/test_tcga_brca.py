"""The recipe for TCGA-BRCA: its filters, and its own commands on a miniature in the formats of GDC and GEO."""
import json
import re
import shlex

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from next_commands import QUICK
from scipy import io, sparse
from test_prepare_tcga import download_of_demo

from gdc import gdc_download

PAGE = (ROOT / "docs" / "tcga-brca.md").read_text()
EXTRA = QUICK | {"make_signature.py": [], "collect_results.py": ["--bootstrap", "20"],
                 "predict_response.py": ["--repeats", "1", "--bootstrap", "20", "--features", "Bulk", "abundance",
                                         "clinical", "mean features", "--min-r", "-1", "--processes", "1"]}


def commands():
    """Words of the page's commands of this repository, in order."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    lines = "\n".join(block for kind, block in blocks if not kind).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("python ")]


def test_filters_are_those_of_the_api():
    filters = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    asked = [{one["content"]["field"]: one["content"]["value"] for one in
              (found["content"] if found["op"] == "and" else [found])} for found in filters]
    assert asked == [
        {"cases.project.project_id": ["TCGA-BRCA"], "data_type": ["Slide Image"],
         "experimental_strategy": ["Diagnostic Slide"]},
        {"cases.project.project_id": ["TCGA-BRCA"], "data_type": ["Gene Expression Quantification"],
         "analysis.workflow_type": ["STAR - Counts"]}, {"project.project_id": ["TCGA-BRCA"]}]
    fields, = re.findall(r"^columns=(.*)$", PAGE, re.MULTILINE)
    columns = {field.replace("cases.", "cases.0.").replace("samples.", "samples.0.") for field in fields.split(",")}
    assert columns == set(gdc_download.OF_API)


def test_every_command_of_the_page_is_a_script():
    assert [words[1] for words in commands()][:2] == ["data/prepare_tcga.py", "data/check_project.py"]
    assert all((ROOT / words[1]).is_file() for words in commands())


def as_of_the_api(sheet, path):
    """A sheet of the portal as the API gives it: other names, another order."""
    names = {portal: api for api, portal in gdc_download.OF_API.items()}
    table = pd.read_csv(sheet, sep="\t", dtype=str)[list(names)].rename(columns=names)
    table["id"] = table["file_id"]
    table[sorted(table)].to_csv(path, sep="\t", index=False)


def write_miniature(demo, folder):
    """What steps 1 and 2 leave behind, of a demo cohort."""
    download = download_of_demo(demo, folder)
    for kind, data_type in (("slides", "Slide Image"), ("rna", "Gene Expression Quantification")):
        for name in ("sheet.tsv", "manifest.txt"):
            table = pd.read_csv(folder / name, sep="\t", dtype=str)
            of_kind = [row[0] for row in download.rows if row[3] == data_type]
            table[table.iloc[:, 0].isin(of_kind)].to_csv(folder / f"{kind}.{name}", sep="\t", index=False)
        as_of_the_api(folder / f"{kind}.sheet.tsv", folder / f"{kind}.sheet.tsv")
    patients = sorted({row[5] for row in download.rows})
    rng = np.random.default_rng(0)
    dead = np.arange(len(patients)) > 1
    days = rng.integers(30, 4000, len(patients))
    pd.DataFrame({"demographic.days_to_death": np.where(dead, days, ""), "demographic.vital_status": np.where(
        dead, "Dead", "Alive"), "diagnoses.0.age_at_diagnosis": rng.integers(9000, 30000, len(patients)),
        "diagnoses.0.ajcc_pathologic_stage": "Stage IIA",
        "diagnoses.0.days_to_last_follow_up": np.where(dead, "", days),
        "id": patients, "submitter_id": patients}).to_csv(folder / "clinical.tsv", sep="\t", index=False)
    write_single_cells(demo, folder / "Wu_etal_2021_BRCA_scRNASeq")


def write_single_cells(demo, folder):
    """Counts of 30 cells a type drawn from the demo's reference, laid out as in GSE176078."""
    reference = pd.read_csv(demo / "reference.tsv.gz", sep="\t", index_col=0)
    rng, cells, counts = np.random.default_rng(1), [], []
    for name in reference:
        shares = (reference[name] / reference[name].sum()).to_numpy()
        counts += list(rng.multinomial(20_000, shares, size=30))
        cells += [(f"CID1_{name.replace(' ', '')}_{i}", "CID1", name, name) for i in range(30)]
    folder.mkdir()
    io.mmwrite(str(folder / "count_matrix_sparse.mtx"), sparse.coo_matrix(np.array(counts).T))
    for kind, names in (("genes", reference.index), ("barcodes", [cell[0] for cell in cells])):
        (folder / f"count_matrix_{kind}.tsv").write_text("\n".join(names) + "\n")
    pd.DataFrame(cells, columns=["", "orig.ident", "celltype_minor", "celltype_major"]).to_csv(
        folder / "metadata.csv", index=False)


@pytest.fixture
def demo(run_script, tmp_path):
    """A demo cohort of small slides."""
    sizes = ["--patients", 14, "--genes", 300, "--width-px", 1024, "--height-px", 1024]
    assert run_script("data/make_demo_cohort.py", tmp_path / "demo", *sizes).returncode == 0
    return tmp_path / "demo"


@pytest.mark.slow
def test_the_commands_run_on_a_miniature(demo, run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_miniature(demo, tmp_path)
    for _, script, *words in commands():
        if script == "deconvolution/1main_deconvolution.py":    # step 5
            metadata = pd.read_csv("brca/metadata.csv")
            metadata.assign(Magnification=20.).to_csv("brca/metadata.csv", index=False)
        done = run_script(script, *words, *EXTRA.get(script.split("/")[1], []))
        if script != "data/check_project.py":       # which says what is lacking then
            assert done.returncode == 0, f"{script} {words}: {done.stderr}\n{done.stdout[-500:]}"
    clinical = pd.read_csv("brca/clinical.csv")
    assert clinical["Time"].notna().all() and set(clinical["Event"]) == {0, 1}
    summary = pd.read_csv("brca/results/summary.csv")
    assert {"Bulk", "abundance", "CAFs"} <= set(summary.target)
    assert pd.read_csv("brca/survival/Event_out_of_fold/comparison.csv").features.tolist() == [
        "Bulk", "abundance", "clinical", "mean features"]
    assert "survival" in (tmp_path / "brca" / "report.html").read_text()
    assert (tmp_path / "brca_model" / "bundle.json").is_file()
