"""The report: one file that fetches nothing, says what is wrong in words, and works in a browser."""
import argparse
import base64
import html.parser
import io
import json
import re
import shutil

import h5py
import numpy as np
import pandas as pd
import pypdf
import pytest
import report

import planted_models
from report_page import cautions, html_page, key_numbers, slide_pictures
from slide_ex.project import features_file

HOSTILE = "</script><script>document.title='owned'</script>"
HOSTILE_SLIDE = "<img src=x onerror=alert(1)>"
BROWSERS, DRIVERS = ("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--no-first-run", "--window-size=1200,1000")


def make(project, overwrite=False):
    report.main(argparse.Namespace(project_path=project, overwrite=overwrite))
    return (project / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Four slides with features, one that failed, one that was never tried; tables with hostile names; a map."""
    project = planted_models.write(tmp_path_factory.mktemp("report") / "project")
    with open(project / "metadata.csv", "a") as file:
        file.write(f"{HOSTILE_SLIDE},gone.svs,P8,0.5\nNEVER,never.svs,P9,0.5\n")
    (project / "slides" / "gone.svs").write_text("no slide")
    (project / "logs").mkdir()
    (project / "logs" / "slide_processing.csv").write_text(
        f"slide_index,slide_id,status,reason\n4,{HOSTILE_SLIDE},failed,<i>no slide</i>\n")
    rng = np.random.default_rng(0)
    genes = pd.DataFrame({"gene": [HOSTILE, "NA", *(f"G{i}" for i in range(498))], "n_patients": 4,
                          "pearson_r": rng.permutation(500) / 500, "slope": 0.5, "p_one_sided": 0.1})
    genes.loc[7, "pearson_r"] = np.nan
    genes.to_csv(project / "results" / "CAFs_genes.csv", index=False)
    summary(ridge=0.4).to_csv(project / "results" / "summary.csv", index=False)
    picture = project / "figures" / "fig2.png"
    picture.parent.mkdir()
    slide_pictures.Image.new("RGB", (30, 20), "red").save(picture)
    picture.with_suffix(".txt").write_text(f"Genes & {HOSTILE}.\na, What is shown.\nn = 4 patients.\n")
    folder = project / "maps" / "S0"
    folder.mkdir(parents=True)
    record = {"maps": [{"label": HOSTILE}], "note": "not validated", "models": "2 models"}
    (folder / "one.json").write_text(json.dumps(record))
    shutil.copy(picture, folder / "one.png")
    return project


def summary(ridge, n_patients=300):
    return pd.DataFrame([
        {"target": "CAFs", "model": "slide-ex", "n_patients": n_patients, "median_r": 0.5, "median_r_low": 0.45},
        {"target": "CAFs", "model": "ridge", "n_patients": n_patients, "median_r": ridge, "median_r_low": 0.1},
        {"target": "direct", "model": "slide-ex", "n_patients": n_patients, "auc": 0.7, "auc_low": 0.6,
         "auc_high": 0.8},
        {"target": "direct", "model": "ridge", "n_patients": n_patients, "auc": 0.5, "auc_low": 0.4, "auc_high": 0.6}])


class Addresses(html.parser.HTMLParser):
    """What a page would fetch or lead to, its elements and its text outside scripts."""
    def __init__(self, page):
        super().__init__()
        self.addresses, self.elements, self.texts = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "data-src", "data-mask")]
        if tag == "img":
            assert dict(attributes)["alt"]
        assert not any(name.startswith("on") for name, _ in attributes)

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_fetches_nothing_and_text_of_tables_stays_text(project):
    page = make(project)
    found = Addresses(page)
    assert all(address.startswith(("data:", "#")) for address in found.addresses)
    assert not re.search(r"https?://|@import|url\((?!\$\{image\.dataset)", page)
    assert found.elements.count("script") == 1 + page.count('type="application/json"')
    assert HOSTILE not in page and HOSTILE_SLIDE not in page
    assert HOSTILE_SLIDE in found.texts  # heading of its section
    assert any(HOSTILE in text for text in found.texts)  # the map's caption
    data = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page)]
    genes, = (table for table in data if table["names"][:2] == ["cell_type", "gene"])
    (texts, numbers), = genes["columns"][1]
    assert [texts[i] for i in numbers[:2]] == [HOSTILE, "NA"] and len(numbers) == 500
    assert genes["columns"][3][7] is None
    assert '<figcaption><b>Genes &amp; &lt;/script&gt;' in page and "<p>n = 4 patients.</p>" in page


def test_maps_beyond_the_limit_are_links(project, monkeypatch):
    monkeypatch.setattr(report, "MAPS_BYTES", 0)
    picture = project / "maps" / "S0" / "CAFs #1 & 2.png"
    shutil.copy(picture.with_name("one.png"), picture)
    shutil.copy(picture.with_name("one.json"), picture.with_suffix(".json"))
    page = make(project, overwrite=True)
    picture.unlink()
    picture.with_suffix(".json").unlink()
    links = [address for address in Addresses(page).addresses if address.startswith("maps/")]
    assert links == ["maps/S0/CAFs%20%231%20%26%202.png", "maps/S0/one.png"]


def test_slides_are_shown_with_what_became_of_them(project):
    table = slide_pictures.read_table(project).set_index("slide_id")
    assert table["status"].to_dict() == {**{f"S{i}": "done" for i in range(4)}, HOSTILE_SLIDE: "failed",
                                         "NEVER": "missing"}
    assert table.loc[HOSTILE_SLIDE, "reason"] == "<i>no slide</i>" and table.loc["S0", "tiles"] == 20
    page = make(project)
    assert page.count('alt="thumbnail of') == 3 and page.count('alt="analysed tiles of') == 4  # S3 has no file


def test_mask_shows_the_analysed_tiles_only(project):
    from maps import slide_tiles
    slides = features_file.read_slides(project / "features.h5")
    layout = slide_tiles.read_layout(project, slides, 0)
    picture = slide_tiles.read_picture(project / "slides" / "S0.svs", slide_pictures.THUMBNAIL_PX)
    for shown in (slide_pictures.is_tile(layout, picture), slide_pictures.is_tile(layout, None)):
        width = slide_pictures.THUMBNAIL_PX // planted_models.N_COLUMNS
        shares = [shown[y * width // 64:, x * width // 64:][4:width - 4, 4:width - 4].mean()
                  for x, y in map(planted_models.corner, range(24))]
        assert {i for i, share in enumerate(shares) if share == 0} == set(planted_models.GLASS)
        assert set(shares) == {0, 1}
        packed = base64.b64decode(slide_pictures.mask_uri(shown).split(",")[1])
        alpha = np.asarray(slide_pictures.Image.open(io.BytesIO(packed)).convert("RGBA"))[..., 3]
        assert np.array_equal(alpha, 255 * shown) and len(packed) < 600


def test_a_report_is_made_again_only_when_something_changed(project, run_script):
    page = make(project, overwrite=True)
    command = "prediction/report.py", project
    assert "nothing that it shows has changed" in run_script(*command).stdout
    assert make(project, overwrite=True) == page
    table = project / "results" / "summary.csv"
    before = table.read_text()
    summary(ridge=0.6).to_csv(table, index=False)
    assert "Ridge regression on mean features does as well as the model, or better, for 1 of 2 targets" in make(project)
    table.write_text(before)
    caption = project / "figures" / "fig2.txt"
    before = caption.read_text()
    caption.write_text("Another caption.\n")
    assert "Another caption." in make(project)
    caption.write_text(before)


def test_of_a_figure_the_png_is_shown_else_the_svg(tmp_path):
    (tmp_path / "figures").mkdir()
    for name in ("fig1.png", "fig1.svg", "fig2.svg", "fig3.pdf"):
        (tmp_path / "figures" / name).touch()
    assert [path.name for path in report.figures_of(tmp_path)] == ["fig1.png", "fig2.svg"]


def test_the_first_screen_has_five_numbers_with_what_they_are_of():
    slides = pd.DataFrame({"slide_id": list("ABC"), "patient_id": list("PPQ"), "status": ["done", "done", "failed"],
                           "tiles": [10, 2000, np.nan]})
    row = {"model": "slide-ex", "n_patients": 60, "n_genes": 900, "n_r_0.40_low": 170.0, "n_r_0.40_high": 422.0}
    rows = [row | {"target": target, "n_r_above_0.40": n} for target, n in (("CAFs", 298), ("PVL", 12), ("Bulk", 800),
                                                                         ("abundance", 5))]
    tables = {"results/summary.csv": pd.DataFrame(rows + [rows[1] | {"model": "ridge", "n_r_above_0.40": 500}]),
              "results/abundance.csv": pd.DataFrame({"pearson_r": [0.6, 0.61, 0.9, np.nan]}),
              "results/direct.csv": pd.DataFrame([{"auc": 0.914, "auc_low": 0.849, "auc_high": 0.979, "n_pcr": 34,
                                                   "n_patients": 75}])}
    found = key_numbers.of_project(slides, tables)
    assert [one.value for one in found] == ["2", "3", "298", "2", "0.91"]
    assert found[1].note == "2 with features, 2,010 tissue tiles" and "60 in the results" in found[0].note
    assert found[2].note == "95 % interval 170 to 422; of 900 of CAFs, the best cell type, out of fold"
    assert found[4].note == "95 % interval 0.85 to 0.98; 34 of 75 patients respond, out of fold"
    elsewhere = {path.replace("results", "predictions/brca"): table for path, table in tables.items()}
    found = key_numbers.of_project(slides, elsewhere)
    assert found[2].value == "298" and found[2].note.endswith("by the models of brca")
    assert [one.value for one in key_numbers.of_project(slides, {})] == ["2", "3", "–", "–", "–"]


def test_the_first_screen_has_at_most_three_warnings_in_a_line_each_of_different_kinds(project):
    tables = {"results/summary.csv": pd.concat([summary(0.6, 28), summary(0.6).assign(
        model=lambda table: table["model"].replace("ridge", "mean colour"))]).drop_duplicates(["target", "model"])}
    slides = pd.DataFrame({"slide_id": ["A"], "status": "failed", "tiles": np.nan})
    lines = cautions.of_project(project, slides, tables, None)
    assert lines[0].startswith("There are no features") and "Ridge" in lines[1] and "28 patients" not in lines[1]
    assert sum("The mean colour" in line for line in lines[:3]) == 0  # of the kind of the ridge: after all kinds
    page = html_page.warnings(lines)
    short = page[:page.index("<details")]
    assert short.count("<li>") == 3 and f"{len(lines)} warnings in full" in page
    assert all(len(line) < 120 for line in re.findall("<li>(.*?)</li>", short))
    assert html_page.warnings([]) == "<p>No warnings.</p>"


def test_a_project_with_nothing_but_metadata_has_a_report(tmp_path):
    (tmp_path / "metadata.csv").write_text("Slide.ID,Filename,Patient.ID\nA,a.svs,P\n")
    page = make(tmp_path)
    assert "There are no features yet" in page and "There are no results yet" in page


def test_no_metadata_is_one_clear_line(tmp_path, run_script):
    done = run_script("prediction/report.py", tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "metadata.csv is missing" in done.stderr


@pytest.mark.parametrize("ridge, words", [(0.3, None), (0.47, "not clearly worse than the model"),
                                          (0.5, "as well as the model, or better"), (0.51, "or better")])
def test_baselines_that_reach_the_model_are_named(ridge, words):
    lines = cautions.about_baselines(summary(ridge))
    assert (lines == []) if words is None else (len(lines) == 1 and words in lines[0] and "CAFs" in lines[0])
    if words:
        assert "1 of 2 targets" in lines[0] and f"CAFs ({ridge:.2f} against 0.50)" in lines[0]


def test_baselines_are_compared_by_r_in_folds_where_it_is_known():
    """R over all patients says more of the levels of folds: here the ridge is ahead by it, and behind in folds."""
    table = summary(0.6)
    table["median_r_in_folds"], table["median_r_in_folds_low"] = [0.5, 0.3, None, None], [0.45, 0.2, None, None]
    assert cautions.about_baselines(table) == []
    table.loc[1, "median_r_in_folds"] = 0.48
    assert "by median R in folds or AUC, CAFs (0.48 against 0.50)" in cautions.about_baselines(table)[0]


def test_a_cohort_that_is_only_predicted_is_not_told_to_train(tmp_path):
    slides = pd.DataFrame({"slide_id": ["A"], "status": "done", "tiles": 12.0})
    outside = pd.DataFrame({"slide_id": ["A", "B"], "outside": [False, True]})
    tables = {"predictions/brca/summary.csv": summary(0.1, 28), "predictions/brca/slides.csv": outside}
    few, far = cautions.of_project(tmp_path, slides, tables, None)[1:]
    assert "There are 28 patients" in few
    assert "1 of 2 slides lie outside the training range of brca: 1 (B)" in far


def test_few_patients_and_chance_are_named():
    assert cautions.about_patients(summary(0.1)) == []
    assert "There are 28 patients" in cautions.about_patients(summary(0.1, 28))[0]
    assert "about +-0.39" in cautions.about_patients(summary(0.1, 28))[0]
    table = summary(0.1)
    assert cautions.about_response(table) == []
    table.loc[table["target"] == "direct", "auc_low"] = 0.45
    assert "does not tell responders apart" in cautions.about_response(table)[0]


def test_figures_older_than_their_tables_are_named(project):
    from drawing import figure_files
    record, table = project / "figures" / "figures.json", project / "results" / "summary.csv"
    record.write_text(json.dumps({"fig2": {"results/summary.csv": figure_files.checksum(table)}}))
    assert cautions.about_stale_figures(project) == []
    record.write_text(json.dumps({"fig2": {"results/summary.csv": "0" * 64}}))
    assert "older than their tables: fig2" in cautions.about_stale_figures(project)[0]
    record.unlink()


@pytest.fixture(scope="module")
def browser():
    """Chromium without a display; tests that need it are skipped, with the reason, where it is not installed."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (tests/requirements.txt)")
    program, driver = (next(filter(None, map(shutil.which, names)), None) for names in (BROWSERS, DRIVERS))
    if not (program and driver):
        pytest.skip("no Chromium with chromedriver here: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = program
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = selenium.Chrome(options, selenium.ChromeService(driver))
    yield opened
    opened.quit()


def test_tables_sort_and_filter_in_a_browser(project, browser):
    make(project)
    browser.get((project / "report.html").as_uri())
    assert browser.title == "SLIDE-EX: project"  # nothing hostile has run
    box = next(box for box in browser.find_elements("css selector", ".table") if "genes" in box.text.splitlines()[0])
    rows = lambda: [[cell.text for cell in row.find_elements("tag name", "td")]  # noqa: E731
                    for row in box.find_elements("css selector", "tbody tr")[:12]]
    count, r = box.find_element("class name", "count"), box.find_element("xpath", ".//button[text()='pearson_r']")
    assert count.text == "200 of 500 rows shown, 500 in all" and rows()[0][1] == HOSTILE
    r.click()
    assert [float(row[3]) for row in rows()[:3]] == sorted([float(row[3]) for row in rows()[:3]], reverse=True)
    r.click()
    ascending = [float(row[3]) for row in rows()]
    assert ascending == sorted(ascending) and ascending[0] < 0.01
    search = box.find_element("tag name", "input")
    search.send_keys("g7 CAFs")
    assert count.text == "11 of 11 rows shown, 500 in all"
    search.clear()
    search.send_keys("no such gene")
    assert count.text == "0 of 0 rows shown, 500 in all"
    browser.find_element("id", "find-slide").send_keys("failed")
    assert [card.find_element("tag name", "h3").text for card in browser.find_elements("class name", "card")
            if card.is_displayed()] == [HOSTILE_SLIDE]
    assert browser.get_log("browser") == []


def test_pictures_come_into_view_sections_fold_and_keys_do_what_the_mouse_does(project, browser):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait
    make(project)
    browser.get((project / "report.html").as_uri())
    for number in browser.find_elements("css selector", ".key div, #summary > .warnings li"):
        assert number.location["y"] + number.size["height"] < 900  # the first screen
    boxes = browser.find_elements("css selector", "details.table")
    summary = boxes[0].find_element("tag name", "summary")
    inside = boxes[0].find_element("tag name", "table")
    summary.send_keys(Keys.ENTER)
    assert not inside.is_displayed()
    summary.send_keys(Keys.ENTER)
    assert inside.is_displayed()
    header = boxes[0].find_element("css selector", "th button")
    header.send_keys(Keys.ENTER)
    assert header.find_element("xpath", "..").get_attribute("aria-sort") in ("ascending", "descending")
    assert all(cell.get_attribute("scope") for cell in browser.find_elements("tag name", "th"))
    image = browser.find_element("css selector", ".card:last-of-type img, .card img")
    browser.execute_script("arguments[0].scrollIntoView()", image)
    WebDriverWait(browser, 10).until(lambda _: browser.execute_script(
        "return arguments[0].complete && arguments[0].naturalWidth > 0", image))
    masked = browser.find_element("css selector", "img[alt^='analysed tiles']")
    assert masked.value_of_css_property("mask-image").startswith('url("data:image/png')
    assert browser.get_log("browser") == []


def test_everything_is_printed(project, browser):
    make(project)
    browser.get((project / "report.html").as_uri())
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    pages = pypdf.PdfReader(io.BytesIO(printed)).pages
    text = " ".join(" ".join(page.extract_text() for page in pages).split())
    assert "What is shown." in text and "features are random convolutions" in text  # folded on the screen
    assert not browser.find_elements("css selector", "img[data-src], img[data-mask]")
    assert browser.get_log("browser") == []


@pytest.mark.slow
def test_a_thousand_slides_stay_below_10_megabytes(tmp_path, browser):
    n_slides, n_genes, names = 1000, 10_000, [f"CELLS{i}" for i in range(9)]
    project = planted_models.write(tmp_path / "large")
    shutil.rmtree(project / "results")
    with h5py.File(project / "features.h5", "r+") as file:
        n_tiles = file["first_tile"][1]
        for name in ("features", "coords"):
            values = np.tile(file[name][:n_tiles], (n_slides, 1))
            del file[name]
            file[name] = values
        for name, values in (("slide_ids", [f"L{i}" for i in range(n_slides)]),
                             ("patient_ids", [f"P{i}" for i in range(n_slides)]),
                             ("first_tile", np.arange(n_slides + 1) * n_tiles),
                             ("mean_features", np.ones((n_slides, planted_models.N_FEATURES), np.float32)),
                             ("mean_rgb", np.ones((n_slides, 3), np.float32))):
            del file[name]
            file[name] = values
        for name in set(features_file.OF_SLIDES) & set(file):
            values = np.resize(file[name][:], n_slides)
            del file[name]
            file[name] = values
    for i in range(n_slides):
        (project / "slides" / f"L{i}.svs").symlink_to(f"S{i % 3}.svs")
    rows = "".join(f"L{i},L{i}.svs,P{i}\n" for i in range(n_slides))
    (project / "metadata.csv").write_text("Slide.ID,Filename,Patient.ID\n" + rows)
    rng = np.random.default_rng(0)
    (project / "results").mkdir()
    for name in names:
        pd.DataFrame({"gene": [f"GENE{i}" for i in range(n_genes)], "n_patients": 1000,
                      "pearson_r": rng.uniform(-1, 1, n_genes), "slope": rng.uniform(0, 1, n_genes),
                      "p_benjamini_hochberg": rng.random(n_genes), "confidence": rng.random(n_genes)}
                     ).to_csv(project / "results" / f"{name}_genes.csv", index=False)
    page = make(project)
    print(f"{len(page) / 1e6:.1f} MB")
    assert len(page) < 10e6
    browser.get((project / "report.html").as_uri())
    assert len(browser.find_elements("class name", "card")) == n_slides
    assert browser.get_log("browser") == []
