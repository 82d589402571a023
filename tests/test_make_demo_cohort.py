"""Laws of the demo cohort: truth and bulk agree, slides are real slides, the same seed gives the same bytes."""
import hashlib
import json

import cv2
import h5py
import numpy as np
import openslide
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from demo_cohort import hidden_truth, paint_slide, write_svs
from demo_cohort.scan_slide import SCANNERS

SMALL = ("--patients", 4, "--genes", 300, "--width-px", 1536, "--height-px", 1536)
SCRIPT = "data/make_demo_cohort.py"


@pytest.fixture(scope="module")
def demo(run_script, tmp_path_factory):
    """A small demo cohort."""
    project = tmp_path_factory.mktemp("demo") / "new" / "cohort"
    result = run_script(SCRIPT, project, *SMALL)
    assert result.returncode == 0, result.stderr
    return project


def checksums(project):
    return {str(path.relative_to(project)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(project.rglob("*")) if path.is_file() and "logs" not in path.parts}


def test_same_seed_same_bytes(run_script, demo, tmp_path):
    run_script(SCRIPT, tmp_path, *SMALL, check=True)
    assert checksums(tmp_path) == checksums(demo)
    run_script(SCRIPT, tmp_path, *SMALL, "--seed", 2, "--overwrite", check=True)
    same = {name for name, digest in checksums(tmp_path).items() if checksums(demo).get(name) == digest}
    assert same == {"metadata.csv", "gene_sets.gmt"}  # which slides there are, and the biology that all share


def test_finished_is_skipped_and_other_parameters_are_refused(run_script, demo):
    before = checksums(demo)
    again = run_script(SCRIPT, demo, *SMALL)
    assert again.returncode == 0 and "skipped" in again.stdout and checksums(demo) == before
    other = run_script(SCRIPT, demo, *SMALL, "--seed", 7)
    assert other.returncode == 1 and "seed was 1, now 7" in other.stderr and "--overwrite" in other.stderr
    assert len(other.stderr.splitlines()) == 1 and checksums(demo) == before


@pytest.mark.parametrize("arguments, complaint", [
    (("--patients", 0), "--patients"), (("--genes", 50), "--genes"), (("--width-px", 300), "--width-px"),
    (("--seed", -1), "--seed")])
def test_bad_sizes_are_refused(run_script, tmp_path, arguments, complaint):
    project = tmp_path / "new"
    result = run_script(SCRIPT, project, *arguments)
    assert result.returncode != 0 and complaint in result.stderr and "Traceback" not in result.stderr
    assert not (project / "metadata.csv").exists() and not (project / "truth").exists()


def test_somebody_elses_folder_is_refused(run_script, tmp_path):
    (tmp_path / "metadata.csv").write_text("Slide.ID,Filename\n")
    result = run_script(SCRIPT, tmp_path, "--overwrite")
    assert result.returncode == 1 and "not a demo" in result.stderr
    assert (tmp_path / "metadata.csv").read_text() == "Slide.ID,Filename\n"


def test_a_file_is_no_project(run_script, tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    result = run_script(SCRIPT, path)
    assert result.returncode == 1 and "is not a folder" in result.stderr and "Traceback" not in result.stderr


def test_slides_open_as_aperio(demo):
    metadata = pd.read_csv(demo / "metadata.csv").set_index("Slide.ID")
    assert list(metadata.index) == ["DEMO-P001-S1", "DEMO-P002-S1", "DEMO-P003-S1", "DEMO-P004-S1", "DEMO-P001-S2"]
    for i, (filename, magnification) in enumerate(zip(metadata["Filename"], metadata["Magnification"])):
        with openslide.OpenSlide(demo / "slides" / filename) as slide:
            properties = dict(slide.properties)
            power = 40 if i == 3 else 20
            assert properties["openslide.vendor"] == "aperio"
            assert slide.dimensions == (1536 * power // 20, 1536 * power // 20) and slide.level_count > 1
            if i == 1:  # known from the table alone
                assert "openslide.objective-power" not in properties and magnification == 20
            else:
                assert float(properties["openslide.objective-power"]) == power and np.isnan(magnification)
                assert float(properties["openslide.mpp-x"]) * power == pytest.approx(10)


def test_another_law_of_response_changes_nothing_else(run_script, demo, tmp_path):
    run_script(SCRIPT, tmp_path, *SMALL, "--response", "composition", check=True)
    differ = {name for name, digest in checksums(tmp_path).items() if checksums(demo)[name] != digest}
    assert "truth/parameters.json" in differ and differ <= {"truth/parameters.json", "clinical.csv"}
    refused = run_script(SCRIPT, tmp_path, *SMALL)
    assert refused.returncode == 1 and "response was composition, now states" in refused.stderr


def test_second_hospital_has_its_own_patients_and_stain(run_script, demo, tmp_path):
    run_script(SCRIPT, tmp_path, *SMALL, "--hospital", 2, check=True)
    assert json.loads((tmp_path / "truth" / "parameters.json").read_text())["hospital"] == 2
    refused = run_script(SCRIPT, tmp_path, *SMALL)
    assert refused.returncode == 1 and "hospital was 2, now 1" in refused.stderr
    states = [pd.read_csv(project / "truth" / "states.csv", index_col=0) for project in (demo, tmp_path)]
    assert list(states[1].index) == ["DEMO2-P001", "DEMO2-P002", "DEMO2-P003", "DEMO2-P004"]
    assert not np.isclose(states[0], states[1]).any()
    bulk = [pd.read_csv(project / "bulk_expression.tsv.gz", sep="\t", index_col=0) for project in (demo, tmp_path)]
    assert bulk[0].index.equals(bulk[1].index)


def test_hospitals_differ_more_than_their_slides():
    """The same tissue in the colours of both: the stains are told apart, and are still haematoxylin and eosin."""
    states, fractions = dict.fromkeys(hidden_truth.STATES, 0.), dict.fromkeys(hidden_truth.CELL_TYPES, 1 / 9)
    colours = {hospital: np.array([paint_slide.paint(np.random.default_rng(seed), (512, 512), fractions, states, .9, 0.,
                                                     scanner).mean((0, 1)) for seed in range(5)])
               for hospital, scanner in SCANNERS.items()}
    apart = np.abs(colours[1].mean(0) - colours[2].mean(0))
    assert (apart > 2 * np.maximum(colours[1].std(0), colours[2].std(0))).any()
    for scanner in SCANNERS.values():
        red, green, _ = np.array([scanner.hematoxylin, scanner.eosin]).T
        assert red[0] > 3 * red[1] and green.min() > .6  # eosin lets red light through, both take green


def tissue_tiles(path):
    """Number of tissue tiles by the published rule, and the share of flat pixels in the flattest tile."""
    flat = []
    with openslide.OpenSlide(path) as slide:
        edge = int(512 * float(slide.properties.get("openslide.objective-power", 20)) / 20)
        for y in range(0, slide.dimensions[1] - edge + 1, edge):
            for x in range(0, slide.dimensions[0] - edge + 1, edge):
                tile = np.array(slide.read_region((x, y), 0, (edge, edge)).convert("RGB").resize((512, 512), 3))
                grey = cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)
                slopes = [cv2.convertScaleAbs(cv2.Sobel(grey, cv2.CV_32F, *axis)) for axis in ((1, 0), (0, 1))]
                flat.append((cv2.addWeighted(slopes[0], .5, slopes[1], .5, 0) < 15).mean())
    return int((np.array(flat) <= .5).sum()), max(flat)


def test_tissue_is_tissue_and_glass_is_glass(demo):
    n_tiles, flattest = zip(*(tissue_tiles(path) for path in sorted((demo / "slides").glob("*.svs"))))
    by_slide = dict(zip(sorted(path.stem for path in (demo / "slides").glob("*.svs")), n_tiles))
    assert by_slide.pop("DEMO-P001-S2") in (1, 2)
    assert all(5 <= n <= 9 for n in by_slide.values()) and max(flattest) > .95


def test_bulk_is_the_mixture(demo):
    fractions = pd.read_csv(demo / "truth" / "fractions.tsv", sep="\t", index_col=0)
    bulk = pd.read_csv(demo / "bulk_expression.tsv.gz", sep="\t", index_col=0)
    with h5py.File(demo / "truth" / "expression.h5") as file:
        genes, patients = (file[name].asstr()[:].tolist() for name in ("genes", "patient_ids"))
        expression = file["expression"][:]
        assert file["cell_types"].asstr()[:].tolist() == list(fractions.columns)
    assert patients == list(bulk.columns) == list(fractions.index) and genes == list(bulk.index)
    assert len(set(genes)) == 300 and expression.shape == (9, 300, 4)
    np.testing.assert_allclose(fractions.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(bulk.sum(), 1e6, rtol=1e-4)
    np.testing.assert_allclose(expression.sum(1), 1e6, rtol=1e-4)
    by_hand = sum(expression[k] * fractions.iloc[:, k].to_numpy() for k in range(9))
    np.testing.assert_allclose(hidden_truth.mix(fractions, expression), by_hand, rtol=1e-4)
    noise = np.log(bulk.to_numpy() / by_hand)
    assert noise.std() == pytest.approx(.1, abs=.01)


def test_signature_marks_and_comes_from_other_people(demo):
    signature, reference = (pd.read_csv(demo / f"{name}.tsv.gz", sep="\t", index_col=0)
                            for name in ("signature", "reference"))
    assert reference.shape == (300, 9) and signature.equals(reference.loc[signature.index])
    lead = signature.apply(lambda row: row.max() / row.nlargest(2).iloc[1], axis=1)
    assert lead.median() > 2
    with h5py.File(demo / "truth" / "expression.h5") as file:
        own_mean = file["expression"][:].mean(2).T
    assert not np.allclose(own_mean, reference, rtol=.02)


def test_states_move_fractions_and_genes():
    """20,000 people follow the law that is written down."""
    rng = np.random.default_rng(0)
    states = hidden_truth.draw_states(rng, 20_000)
    fractions = hidden_truth.draw_fractions(rng, states)
    ratio = np.log(fractions["CAFs"] / fractions["Endothelial"])
    assert np.polyfit(states["stroma"], ratio, 1)[0] == pytest.approx(.4, abs=.02)
    genes, profiles, programmes = hidden_truth.biology(300)
    expression = hidden_truth.draw_expression(rng, states[:2000], profiles, programmes)
    k = hidden_truth.CELL_TYPES.index("Cancer Epithelial")
    free = int(np.flatnonzero((programmes[:, k] == 0).all(0))[0])  # a gene no state touches fixes the scale
    strong = int(programmes[0, k].argmax())
    slope = np.polyfit(states["grade"][:2000], np.log(expression[k, strong] / expression[k, free]), 1)[0]
    assert slope == pytest.approx(programmes[0, k, strong], abs=.03)


@pytest.mark.parametrize("law", hidden_truth.RESPONSE)
def test_response_follows_its_law(law):
    """Logistic regression on 20,000 people gives back the log odds of what drives response, and none of the rest."""
    rng = np.random.default_rng(0)
    states = hidden_truth.draw_states(rng, 20_000)
    fractions = hidden_truth.draw_fractions(rng, states)
    pcr = hidden_truth.draw_response(rng, states, fractions, law) == "pCR"
    assert pcr.mean() == pytest.approx(hidden_truth.RESPONSE_RATE, abs=.02)
    drivers = pd.concat([states, np.log(fractions)], axis=1)
    found = LogisticRegression(C=1e6, max_iter=1000).fit(drivers, pcr).coef_[0]
    expected = [hidden_truth.RESPONSE[law].get(name, 0) for name in drivers]
    np.testing.assert_allclose(found, expected, atol=.25)
    log_odds = drivers[list(hidden_truth.RESPONSE[law])] @ list(hidden_truth.RESPONSE[law].values())
    assert log_odds.std() == pytest.approx(3.4, abs=.1)  # so that the two laws compare


def test_biology_is_the_same_for_every_cohort():
    first, second = hidden_truth.biology(300), hidden_truth.biology(300)
    assert first[0] == second[0] and all(np.array_equal(a, b) for a, b in zip(first[1:], second[1:]))


def test_gene_sets_are_the_programmes(demo):
    sets = {name: genes for name, _, *genes in (line.split("\t") for line in
                                                (demo / "gene_sets.gmt").read_text().splitlines())}
    genes, _, programmes = hidden_truth.biology(300)
    raised = programmes[hidden_truth.STATES.index("stroma"), hidden_truth.CELL_TYPES.index("CAFs")] > 0
    assert sets["STROMA_IN_CAFS"] == list(np.array(genes)[raised]) and "CD3D" in sets["MARKERS_OF_T_CELLS"]
    assert len(sets) == 9 + 13 and all(set(members) <= set(genes) for members in sets.values())


def test_more_of_a_cell_type_is_more_of_it_in_the_picture():
    """Purple nests grow with tumour cells; nothing else changes the count of dark pixels as much."""
    states = dict.fromkeys(hidden_truth.STATES, 0.)
    purple = []
    for tumour in (.1, .3, .6):
        fractions = dict.fromkeys(hidden_truth.CELL_TYPES, (1 - tumour) / 8) | {"Cancer Epithelial": tumour}
        picture = paint_slide.paint(np.random.default_rng(1), (1024, 1024), fractions, states, .8, 0.)
        assert picture.shape == (1024, 1024, 3) and picture.dtype == np.uint8
        purple.append((picture[..., 0] < 150).mean())
    assert purple[0] < purple[1] < purple[2] and purple[2] > 1.5 * purple[0]


def test_a_slide_keeps_its_picture(tmp_path):
    y, x = np.mgrid[:700, :900]
    picture = np.stack([x % 256, y % 256, (x + y) // 7 % 256], -1).astype(np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 3)
    write_svs.write(tmp_path / "a.svs", picture, 40, .25)
    with openslide.OpenSlide(tmp_path / "a.svs") as slide:
        read = np.array(slide.read_region((0, 0), 0, (900, 700)).convert("RGB")).astype(float)
        assert slide.level_dimensions[1] == (225, 175)
    assert np.abs(read - picture).mean() < 3


def test_parameters_are_recorded(demo):
    record = json.loads((demo / "truth" / "parameters.json").read_text())
    options = {name: record[name] for name in record if not name.endswith("sha256")}
    assert options == {"seed": 1, "patients": 4, "genes": 300, "width_px": 1536, "height_px": 1536, "hospital": 1,
                       "response": "states"}
