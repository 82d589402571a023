"""Turns what a report says into HTML. What comes from tables is escaped here, or set as text by the page's script."""
import base64
import html
import json
import math
import string
import urllib.parse
from pathlib import Path

TEMPLATE = Path(__file__).with_name("template.html")
SIGNIFICANT_DIGITS = 4  # of numbers in tables


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


def warnings(lines):
    if not lines:
        return "<p>None.</p>"
    return "<ul class=\"warnings\">" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def facts(pairs):
    """A plain table of two columns."""
    rows = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>" for name, value in pairs)
    return f"<table class=\"facts\">{''.join(rows)}</table>"


def table(title, path, frame):
    """A table that sorts and filters: data for the page's script, which shows a part of the rows at a time."""
    rows = [[cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    data = json.dumps({"columns": list(map(str, frame.columns)), "rows": rows}, separators=(",", ":"), allow_nan=False)
    data = data.replace("<", "\\u003c")  # so that no text in it can end the script element
    return (f'<div class="table"><h3>{html.escape(title)}</h3><input type="search" placeholder="filter rows" '
            f'aria-label="filter {html.escape(title)}"><span class="count"></span> <span class="note">'
            f'{html.escape(path)}</span><script type="application/json">{data}</script></div>')


def cell(value):
    """A value of a table as JSON has it; missing and infinite numbers are null."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        value = float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
        return int(value) if value is not None and value.is_integer() else value
    return value if isinstance(value, int) and not isinstance(value, bool) else str(value)


def figure(path):
    """A figure of figures/, whole inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return (f'<figure><figcaption>{html.escape(path.stem)}</figcaption>'
            f'<img loading="lazy" alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}"></figure>')


def card(slide, thumbnail, mask, maps):
    """Section of a slide.

    thumbnail, mask : data URIs or ""
    maps : list of (record of map_slide.py, data URI, or path relative to the project where the page would be too big)
    """
    tiles = "" if math.isnan(slide.tiles) else f", {slide.tiles:.0f} tiles"
    parts = [f"<h3>{html.escape(slide.slide_id)}</h3><p class=\"note\">patient {html.escape(slide.patient_id)}, "
             f"{slide.status}{tiles} {html.escape(slide.reason)}</p>"]
    parts += [f'<img class="small" loading="lazy" alt="{what} of {html.escape(slide.slide_id)}" src="{uri}">'
              for what, uri in (("thumbnail", thumbnail), ("analysed tiles", mask)) if uri]
    for record, where in maps:
        label = html.escape(", ".join(one["label"] for one in record["maps"]))
        parts.append(f"<p class=\"note\">{label}: {html.escape(record['note'])}; {html.escape(record['models'])}</p>")
        parts.append(f'<img loading="lazy" alt="map of {label}" src="{where}">' if where.startswith("data:")
                     else f'<a href="{urllib.parse.quote(where)}">{html.escape(where)}</a>')
    return f"<section class=\"card\">{''.join(parts)}</section>"
