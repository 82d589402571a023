"""One page about a project, to open in a browser and to give away: cohort, quality, figures, results, slides, settings.

The page is one file and fetches nothing. Slides are shown small, with the maps that map_slide.py drew.

Reads   <project_path>/metadata.csv and whatever else is there: features.h5, logs/slide_processing.csv, slides/,
        targets.h5, clinical.csv, splits.json, results/, figures/, predictions/, response/, maps/
Writes  <project_path>/report.html; it is not made again when nothing that it shows has changed

    python prediction/report.py demo
"""
import logging
from concurrent.futures import ThreadPoolExecutor

from slide_ex import script

from tqdm import tqdm

from report_page import cautions, html_page, key_numbers, project_facts, slide_pictures
from slide_ex.project import features_file

MAPS_BYTES = 2e6       # of maps inside the page, about 50 kB each; further ones are links to their files
MAX_PAGE_BYTES = 10e6  # of 1,000 slides; mail servers and browsers take it
THREADS = 4            # that read slides


def main(args):
    project, out = args.project_path, args.project_path / "report.html"
    slides = slide_pictures.read_table(project)
    features = features_file.read_slides(project / "features.h5") if (project / "features.h5").is_file() else None
    facts, settings = project_facts.of_cohort(project, slides, features), project_facts.settings(project, features)
    sha256 = project_facts.checksum(project, slides, facts, settings, html_page.TEMPLATE.read_text(encoding="utf-8"))
    if html_page.is_made_from(out, sha256) and not args.overwrite:
        logging.info(f"report: finished, nothing that it shows has changed ({out})")
        return
    tables, models = project_facts.read_tables(project), project_facts.settings_of_models(project)
    warnings = cautions.of_project(project, slides, tables, features)
    page = html_page.render(
        title=project.resolve().name, inputs_sha256=sha256, warnings=html_page.warnings(warnings),
        numbers=html_page.key_numbers(key_numbers.of_project(slides, tables)),
        cohort=html_page.facts(facts)
        + html_page.table("All slides", "metadata.csv, features.h5, logs/slide_processing.csv", slides),
        figures="".join(map(html_page.figure, figures_of(project))) or "<p>None.</p>",
        results="".join(html_page.table(title_of(path), path, table) for path, table in tables.items()),
        slides=slide_cards(project, slides, features),
        settings=("" if models is None else html_page.table("Models", "results/*_preds/*/config.json", models))
        + html_page.facts(settings))
    with script.whole(out) as part:
        part.write_text(page, encoding="utf-8")
    logging.info(f"report: {len(slides)} slides, {len(warnings)} warnings, {out.stat().st_size / 1e6:.1f} MB ({out})")
    if out.stat().st_size > MAX_PAGE_BYTES:
        logging.warning(f"{out} is larger than {MAX_PAGE_BYTES / 1e6:.0f} MB: browsers may be slow")


def title_of(path):
    """A path of a table as words: 'response/rna/comparison.csv' is 'response rna comparison'."""
    return path.removesuffix(".csv").removeprefix("results/").replace("*_", "").replace("/", " ")


def figures_of(project):
    """Paths of the figures, of each the PNG, or the SVG where there is no PNG."""
    paths = {path.stem: path for suffix in ("svg", "png") for path in (project / "figures").glob(f"*.{suffix}")}
    return [paths[name] for name in sorted(paths)]


def slide_cards(project, slides, features):
    """The sections of all slides, in the order of metadata.csv."""
    rows, room, cards = list(slides.itertuples()), MAPS_BYTES, []
    with ThreadPoolExecutor(THREADS) as pool:
        read = pool.map(lambda slide: slide_pictures.of_slide(project, features, slide), rows)
        for slide, shown in zip(rows, tqdm(read, total=len(rows), unit="slide", disable=None)):
            maps = []
            for record, path in slide_pictures.maps_of(project, slide.slide_id):
                place = slide_pictures.map_uri(path) if room > 0 else path.relative_to(project).as_posix()
                maps.append((record, place))
                room -= len(maps[-1][1])
            cards.append(html_page.card(slide, *shown, maps))
    return ('<input type="search" id="find-slide" placeholder="filter slides" aria-label="filter slides">'
            '<p class="note">Left the slide, right its analysed tiles; below, maps that map_slide.py drew.</p>'
            f'<div class="cards">{"".join(cards)}</div>')


if __name__ == "__main__":
    script.run(main, script.parser(__doc__).parse_args(), "report")
