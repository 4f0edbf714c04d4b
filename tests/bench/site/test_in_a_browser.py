"""The report as a person has it: in Chromium, from the file system, by keyboard, light, dark and narrow."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from erasure_bench.bench.site.reading import read_reported
from erasure_bench.bench.site.site import write_site
from tests.bench.site.conftest import HOSTILE, NAMES

BOARDS = Path(__file__).parents[3] / "results" / "microworld"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 380, "height": 740}


class Opened:
    """A page, and everything that it complained of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda asked: self.complaints.append(f"failed: {asked.url}"))
        page.on("request", lambda asked: self.asked.append(asked.url))
        self.asked: list[str] = []

    def methods(self) -> list[str]:
        """The leaderboard's rows, from the top."""
        rows = self.page.locator("#table tbody tr").all()
        return [row.get_attribute("data-method") for row in rows]


@pytest.fixture
def opened(browser: Any, site: Path) -> Iterator[Opened]:
    context = browser.new_context(viewport=WIDE)
    found = Opened(context.new_page())
    found.page.goto((site / "index.html").as_uri())
    found.page.locator(".grid-row img").first.wait_for()
    yield found
    assert found.complaints == []
    assert all(url.startswith("file:") for url in found.asked), "nothing comes from elsewhere"
    context.close()


def test_hostile_words_are_words(opened: Opened) -> None:
    page = opened.page
    assert page.evaluate("window.hurt") is None
    assert page.locator("main script, main iframe, main [onerror], main [onload], main b").count() == 0
    assert page.locator("#table tbody th").all_inner_texts() == ["none", *NAMES]
    text = page.locator(".grid-row .text").all_inner_texts()
    assert HOSTILE[0] in text
    for row in page.locator(".grid-row").all():
        assert row.bounding_box()["height"] < 260, "a very long prompt makes no tall row"


def test_a_policy_stops_what_would_get_in(browser: Any, site: Path) -> None:
    """The policy is in force: a script and a style that were put into the page anyhow do nothing."""
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto((site / "index.html").as_uri())
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.hurt = 9';"
        " document.body.append(s); const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x';"
        " document.body.append(i); }"
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.hurt") is None
    assert sum("Content Security Policy" in line for line in said) == 2
    page.close()


def test_a_column_sorts_best_first_then_the_other_way_then_not_at_all(opened: Opened, finished: Path) -> None:
    page = opened.page
    before = opened.methods()
    button = page.locator("#table thead button.sort").nth(1)
    rows = read_reported(finished).document["rows"]
    key = json.loads(button.get_attribute("data-key"))
    values = {
        row["method"]: row["value"]
        for row in rows
        if row["scope"] == "overall" and [row["role"], row["evaluator"], row["metric"]] == key
    }
    best_first = sorted(NAMES, key=lambda name: values[name])
    button.click()
    assert opened.methods() == ["none", *best_first]
    head = page.locator("#table thead th[aria-sort]").nth(1)
    assert head.get_attribute("aria-sort") == "ascending"
    page.locator("#table thead button.sort").nth(1).press("Enter")
    assert opened.methods() == ["none", *reversed(best_first)], "the keyboard sorts, and the focus stays"
    assert page.evaluate("document.activeElement.className") == "sort"
    page.locator("#table thead button.sort").nth(1).click()
    assert opened.methods() == before


def test_methods_are_found_and_numbers_chosen(opened: Opened) -> None:
    page = opened.page
    page.get_by_label("Find a method").fill("QUOTE")
    assert opened.methods() == ["none", NAMES[1]]
    assert page.locator("#table-count").inner_text().startswith("1 of 3")
    page.get_by_label("Find a method").fill("")
    columns = page.locator("#table thead tr").nth(1).locator("th").count()
    page.get_by_label("Numbers").select_option("every")
    assert page.locator("#table thead tr").nth(1).locator("th").count() > columns
    page.locator("#table-controls summary").click()
    page.locator("#table-controls .several-list").get_by_label("target").uncheck()
    assert "target" not in page.locator("#table thead th.role").all_inner_texts()
    page.keyboard.press("Escape")
    page.locator("#table-controls").get_by_label("Concept", exact=True).select_option("Blue Cube")
    assert page.locator("#table tbody td.number").count() > 0


def test_verdicts_are_filtered(opened: Opened, finished: Path) -> None:
    rows = read_reported(finished).document["rows"]
    missed = {row["method"] for row in rows if row["scope"] == "overall" and row["verdict"] == "missed"}
    opened.page.get_by_label("Numbers").select_option("headline")
    opened.page.locator("#table-controls").get_by_label("Verdicts").select_option("some-missed")
    assert set(opened.methods()[1:]) == missed


def test_a_collapsed_method_sorts_behind_the_others_and_misses_bars(opened: Opened) -> None:
    """The strongest one: its numbers would be the best, and it has no verdict that is missed."""
    page = opened.page
    page.evaluate(
        "(name) => { for (const row of window.erasureReport.run.rows) if (row.method === name) {"
        " row.collapsed = 'noise'; row.verdict = null; } }",
        NAMES[0],
    )
    page.locator("#table thead button.sort").nth(1).click()
    assert opened.methods() == ["none", *NAMES[1:], NAMES[0]]
    page.get_by_label("Numbers").select_option("headline")
    page.locator("#table-controls").get_by_label("Verdicts").select_option("none-missed")
    assert NAMES[0] not in opened.methods()


def test_plots_are_drawn_as_vectors(opened: Opened) -> None:
    page = opened.page
    assert page.locator("#tradeoff-plot svg path.point").count() == 1 + len(NAMES)
    assert page.locator("#intervals-plot svg circle.point").count() == 1 + len(NAMES)
    assert page.locator("#concepts-plot svg rect.cell").count() == 3 * (1 + len(NAMES))
    page.get_by_label("Kept").select_option(index=1)
    assert page.locator("#tradeoff-plot svg path.point").count() == 1 + len(NAMES)
    page.locator("#intervals-controls").get_by_label("Show").select_option("change")
    assert page.locator("#intervals-plot svg circle.point").count() == len(NAMES)
    assert "NaN" not in page.locator("main").inner_html()


def test_pictures_are_filtered_by_concept_role_method_and_verdict(opened: Opened, finished: Path) -> None:
    page = opened.page
    controls = page.locator("#pictures-controls")
    count = page.locator("#pictures-count")
    scores = read_reported(finished).scores
    seen = scores[scores["metric"] == "seen"]
    rows = seen.drop_duplicates(["concept", "role", "seed", "prompt_id", "image_index"])
    assert count.inner_text().startswith(f"{len(rows)} rows, {len(seen)} pictures")
    controls.get_by_label("Concept", exact=True).select_option("Blue Cube")
    assert count.inner_text().startswith(f"{(rows['concept'] == 'Blue Cube').sum()} rows")
    controls.get_by_label("Role", exact=True).select_option("target")
    own = seen[(seen["concept"] == "Blue Cube") & (seen["role"] == "target")]
    assert count.inner_text().startswith(f"{own['prompt_id'].nunique()} rows")
    controls.get_by_label("Verdict by", exact=True).select_option(label="concept seen")
    controls.get_by_label("Verdict", exact=True).select_option("unwanted")
    still = own[(own["method"] != "none") & (own["value"] > 0.5)]
    page.wait_for_function(
        "n => document.getElementById('pictures-count').textContent.startsWith(n + ' rows')",
        arg=still["prompt_id"].nunique(),
    )
    controls.locator("summary").first.click()
    controls.get_by_label(NAMES[2]).uncheck()
    assert page.locator(".grid-head > div").all_inner_texts() == ["prompt", "none (base)", NAMES[0], NAMES[1]]


def test_nothing_is_called_gone_by_a_mark_of_collapse(opened: Opened) -> None:
    """Pictures of an erased role should be no noise, as all should: that is no word about the concept."""
    outcome = (
        "c => erasureReport.outcome({ kind: 'share', better: { target: 'lower' }, collapse: c }, 'target', 0)"
    )
    assert opened.page.evaluate(outcome, False) == {"word": "✓ gone", "state": "wanted"}
    assert opened.page.evaluate(outcome, True) == {"word": "✓ as wanted", "state": "wanted"}


def test_prompts_are_searched(opened: Opened) -> None:
    page = opened.page
    page.get_by_label("Find in prompts").fill("HYPERLINK")
    page.wait_for_function("() => document.getElementById('pictures-count').textContent.startsWith('6 rows')")
    assert all("HYPERLINK" in text for text in page.locator(".grid-row .text").all_inner_texts())


def test_flagged_pictures_are_blurred_until_clicked(opened: Opened) -> None:
    page = opened.page
    veiled = page.locator(".grid-row .shot.veiled")
    before = veiled.count()
    assert before > 0
    assert page.evaluate("getComputedStyle(document.querySelector('.shot.veiled img')).filter").startswith(
        "blur"
    )
    veiled.first.click()
    assert veiled.count() == before - 1 and not page.locator("#viewer").is_visible()
    page.get_by_label("Show flagged pictures").check()
    assert veiled.count() == 0


def test_a_picture_is_zoomed_compared_and_walked_from_by_keyboard(opened: Opened) -> None:
    page = opened.page
    page.get_by_label("Show flagged pictures").check()
    page.locator(".grid-row").nth(0).locator("button.shot").nth(1).press("Enter")
    viewer = page.locator("#viewer")
    viewer.locator("img").wait_for()
    figures = viewer.locator("figcaption")
    assert figures.all_inner_texts() == [NAMES[0]]
    width = viewer.locator("img").bounding_box()["width"]
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.wait_for_function("w => document.querySelector('#viewer img').width !== Math.round(w)", arg=width)
    page.keyboard.press("s")
    page.wait_for_function("() => document.querySelectorAll('#viewer figure').length === 2")
    assert figures.all_inner_texts() == ["none (base)", NAMES[0]]
    heads = viewer.locator(".viewer-scores thead th").all_inner_texts()
    assert heads == ["score", "none (base)", NAMES[0], ""], "as the pictures stand"
    page.keyboard.press("b")
    page.wait_for_function("() => document.querySelectorAll('#viewer [data-blink]').length === 2")
    shown = "() => [...document.querySelectorAll('#viewer figure')].filter(f => !f.hidden)[0].dataset.blink"
    first = page.evaluate(shown)
    page.wait_for_function(f"first => ({shown})() !== first", arg=first)
    page.keyboard.press("b")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "n => document.querySelector('#viewer figcaption').textContent === n", arg=NAMES[1]
    )
    page.keyboard.press("ArrowDown")
    page.wait_for_function(
        "() => document.querySelector('#viewer .where').textContent.startsWith('row 2 of')"
    )
    scores = viewer.locator(".viewer-scores").inner_text()
    assert "concept seen" in scores and "the detector <i>failed</i>" in scores
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    assert page.evaluate("document.activeElement.className").startswith("shot"), "the focus comes back"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_size_and_theme_holds_together(browser: Any, site: Path, viewport: Any, scheme: str) -> None:
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    found = Opened(context.new_page())
    page = found.page
    page.goto((site / "index.html").as_uri())
    page.locator(".grid-row").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out sideways"
    paper, ink = page.evaluate(
        "() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]; }"
    )
    assert contrast(paper, ink) > 7
    for place in (
        ".lead",
        ".hint",
        ".verdict.met",
        ".verdict.missed",
        ".verdict.undecided",
        "#protocol a, footer a",
    ):
        colour = page.evaluate("p => getComputedStyle(document.querySelector(p)).color", place)
        assert contrast(paper, colour) >= 4.5, place
    page.get_by_role("button", name="Theme: system").click()
    page.get_by_role("button", name="Theme: light").click()
    assert page.get_by_role("button", name="Theme: dark").is_visible()
    assert found.complaints == []
    context.close()


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours as CSS computes them."""

    def luminance(colour: str) -> float:
        parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_only_what_is_in_view_is_made(browser: Any, finished: Path, tmp_path: Path) -> None:
    """However many rows there are: the grid's height is theirs, its elements are the window's."""
    write_site([read_reported(finished)], tmp_path / "out")
    page = browser.new_page(viewport={"width": 1280, "height": 500})
    page.goto((tmp_path / "out" / "index.html").as_uri())
    page.locator(".grid-row").first.wait_for()
    rows = int(page.locator("#pictures-count").inner_text().split()[0])
    made = page.locator(".grid-row").count()
    assert made < rows / 2
    last = page.locator(f".grid-row[data-row='{rows - 1}']")
    assert last.count() == 0
    page.evaluate("() => { const g = document.getElementById('grid'); g.scrollTop = g.scrollHeight; }")
    last.locator("img").first.wait_for()
    assert page.locator(".grid-row").count() < rows / 2
    page.close()


def test_runs_lead_to_each_other(browser: Any, finished: Path, tmp_path: Path) -> None:
    write_site([read_reported(finished)] * 2, tmp_path / "out")
    found = Opened(browser.new_page())
    found.page.goto((tmp_path / "out" / "index.html").as_uri())
    assert found.page.locator("td.verdict").count() > 0
    found.page.set_viewport_size(NARROW)
    wider = "() => { const t = document.querySelector('.scroll'); return t.scrollWidth > t.clientWidth; }"
    assert found.page.evaluate(wider), "the table is moved sideways"
    assert found.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "and the page is not"
    found.page.locator(".cards a").nth(1).click()
    found.page.locator(".grid-row img").first.wait_for()
    found.page.get_by_role("link", name="All runs").click()
    assert found.page.locator("h1").inner_text() == "2 runs"
    assert found.complaints == []
    found.page.close()


@pytest.mark.slow
@pytest.mark.parametrize("board", sorted(BOARDS.glob("*/run.json")), ids=lambda file: file.parent.name)
def test_a_board_of_many_methods_opens_at_any_width(browser: Any, board: Path, tmp_path: Path) -> None:
    """Plots lay names beside each other until none lies on another: on some widths that had no end."""
    write_site([read_reported(board.parent)], tmp_path / "report")
    for width in range(360, 1500, 95):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto((tmp_path / "report" / "index.html").as_uri(), timeout=10_000)
        assert page.locator("#tradeoff text.label").count() > 10
        page.close()
