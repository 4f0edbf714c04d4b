"""Tables as one page of HTML: no script, no network, every word escaped, a policy for its style alone."""

import base64
import hashlib
from importlib.resources import files

from erasure_bench.bench.reporting.board import Cell
from erasure_bench.bench.typesetting.arranged import DETECTABLE, Arranged
from erasure_bench.bench.words.numbers import number, p_value
from erasure_bench.bench.words.showing import one_line


def html(what: Arranged) -> str:
    """The whole page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("erasure_bench.bench.typesetting", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: one_line(value) if type(value) is str else value,
    )
    from markupsafe import Markup

    style = files(__package__).joinpath("table.css").read_text(encoding="utf-8")
    page = environment.get_template("table.html.j2")
    return page.render(
        what=what,
        style=Markup(style),  # our own file
        policy=f"default-src 'none'; style-src '{digest(style)}'; base-uri 'none'; form-action 'none'",
        more=more,
        detectable=DETECTABLE,
    )


def digest(style: str) -> str:
    """What a content security policy names an inline style by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}"


def more(cell: Cell) -> str:
    """What is shown of a number beside the number itself, where one points at it."""
    row = cell.row
    if row is None:
        return ""
    parts = [f"{row['prompts']} prompts, {row['images']} pictures"] if row.get("images") else []
    if row.get("missing"):
        parts.append(f"{row['missing']} without a score")
    if row.get("detectable") is not None:
        parts.append(f"detectable change {number(row['detectable'], 3)}")
    if row.get("best_p") is not None:
        parts.append(f"p against the best {p_value(row['best_p'], 3)}")
    if row.get("verdict"):
        parts.append(str(row["verdict"]))
    if row.get("collapsed"):
        parts.append(f"collapsed: {row['collapsed']}")
    if row.get("reason"):
        parts.append(str(row["reason"]))
    return "; ".join(parts)
