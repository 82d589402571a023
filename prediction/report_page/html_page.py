"""Turns what a report says into HTML. What comes from tables is escaped here, or set as text by the page's script."""
import base64
import html
import json
import math
import string
import urllib.parse
from pathlib import Path

from PIL import Image

from report_page import cautions, slide_pictures

TEMPLATE = Path(__file__).with_name("template.html")
SIGNIFICANT_DIGITS = 3  # of numbers in tables
MOST_WARNINGS = 3       # on the first screen


def render(**parts):
    """The page; `parts` are the places of the template, HTML except title and inputs_sha256."""
    return string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        parts | {"title": html.escape(parts["title"])})


def is_made_from(path, inputs_sha256):
    """Whether a page is there and was made from inputs with this checksum."""
    if not path.is_file():
        return False
    with open(path, encoding="utf-8") as file:
        return f'name="inputs-sha256" content="{inputs_sha256}"' in file.read(1000)


def key_numbers(numbers):
    """The first thing that is seen; numbers: list of key_numbers.KeyNumber."""
    boxes = (f"<div><dt>{html.escape(one.name)}</dt><dd><b>{html.escape(one.value)}</b>"
             f"<span class=\"note\">{html.escape(one.note)}</span></dd></div>" for one in numbers)
    return f"<dl class=\"key\">{''.join(boxes)}</dl>"


def warnings(lines):
    """Headlines of the first MOST_WARNINGS sentences, and all of them in full, folded."""
    if not lines:
        return "<p>No warnings.</p>"
    shown = [cautions.headline(line) for line in lines[:MOST_WARNINGS]]
    return (items(shown, "warnings") + f"<details id=\"all-warnings\"><summary>{len(lines)} warnings in full</summary>"
            f"{items(lines, 'warnings')}</details>")


def items(lines, name):
    """A list of a class of that name."""
    return f"<ul class=\"{name}\">{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"


def facts(pairs):
    """A plain table of two columns."""
    rows = (f"<tr><th scope=\"row\">{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
            for name, value in pairs)
    return f"<table class=\"facts\">{''.join(rows)}</table>"


def table(title, path, frame):
    """A table that sorts and filters: data for the page's script, which shows a part of the rows at a time.

    The data are columns; one of text is [texts, numbers of these], since genes and cell types come many times.
    """
    columns = [packed(frame[name]) for name in frame]
    data = json.dumps({"names": list(map(str, frame.columns)), "columns": columns}, separators=(",", ":"),
                      allow_nan=False)
    data = data.replace("<", "\\u003c")  # so that no text in it can end the script element
    return (f'<details class="table" open><summary><h3>{html.escape(title)}</h3></summary><input type="search" '
            f'placeholder="filter rows" aria-label="filter {html.escape(title)}"><span class="count" role="status">'
            f'</span> <span class="note">{html.escape(path)}</span><script type="application/json">{data}</script>'
            '</details>')


def packed(column):
    """A column of a table as JSON has it: numbers as they are, texts as [different texts, which of them]."""
    values = [cell(value) for value in column]
    if not any(isinstance(value, str) for value in values):
        return values
    number_of = {value: i for i, value in enumerate(dict.fromkeys(values))}
    return [[list(number_of), [number_of[value] for value in values]]]


def cell(value):
    """A value of a table as JSON has it; missing and infinite numbers are null."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        value = float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
        return int(value) if value is not None and value.is_integer() else value
    return value if isinstance(value, int) and not isinstance(value, bool) else str(value)


def figure(path):
    """A figure of figures/, whole inside the page, with its caption; the words of its first line stand for it."""
    caption = path.with_suffix(".txt")
    lines = caption.read_text(encoding="utf-8").splitlines() if caption.is_file() else [path.stem]
    title, *panels = map(html.escape, lines)
    words = "".join(f"<p>{panel}</p>" for panel in panels)
    return (f'<figure id="{html.escape(path.stem)}"><img loading="lazy" alt="{title}" src="{figure_uri(path)}">'
            f'<figcaption><b>{title}</b> <span class="note">{html.escape(path.stem)}</span>{words}</figcaption>'
            '</figure>')


def figure_uri(path):
    """A picture as WebP without loss, a third of the PNG; an SVG as it is."""
    if path.suffix == ".svg":
        return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"
    with Image.open(path) as image:
        return slide_pictures.data_uri(image.convert("RGB"), lossless=True, method=1)


def card(slide, thumbnail, mask, maps):
    """Section of a slide. Its pictures are shown when it comes into view.

    thumbnail, mask : data URIs or ""; where the thumbnail is "", the mask is a picture of its own
    maps : list of (record of map_slide.py, data URI, or path relative to the project where the page would be too big)
    """
    tiles = "" if math.isnan(slide.tiles) else f", {slide.tiles:.0f} tiles"
    slide_id = html.escape(slide.slide_id)
    parts = [f"<h3>{slide_id}</h3><p class=\"note\">patient {html.escape(slide.patient_id)}, "
             f"{slide.status}{tiles} {html.escape(slide.reason)}</p>"]
    if thumbnail:
        parts.append(f'<img class="small" alt="thumbnail of {slide_id}" data-src="{thumbnail}">')
    if mask:  # the thumbnail once more, seen through the tiles
        where = f'data-mask="{mask}"' if thumbnail else f'data-src="{mask}"'
        parts.append(f'<img class="small" alt="analysed tiles of {slide_id}" {where}>')
    for record, where in maps:
        label = html.escape(", ".join(one["label"] for one in record["maps"]))
        parts.append(f"<p class=\"note\">{label}: {html.escape(record['note'])}; {html.escape(record['models'])}</p>")
        parts.append(f'<img alt="map of {label}" data-src="{where}">' if where.startswith("data:")
                     else f'<a href="{urllib.parse.quote(where)}">{html.escape(where)}</a>')
    return f"<section class=\"card\">{''.join(parts)}</section>"
