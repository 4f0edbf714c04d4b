"""`python -m studies.readme_pictures RUN`: the README's pictures, from a finished run and the built-in model.

Writes docs/images/leaderboard.svg (the terminal's table), erasing.png (the run's contact sheet), report.png
(the report of `--board` in Chromium) and microworld.png (what the built-in model draws).
"""

import argparse
import io
import re
import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from erasure_bench.bench.reporting.board import Board
from erasure_bench.bench.reporting.reading import read_document
from erasure_bench.bench.reporting.tables import print_summary
from erasure_bench.bench.site.reading import read_reported
from erasure_bench.bench.site.site import write_site
from erasure_bench.models.microworld.drawing import contact_sheet
from erasure_bench.models.sampling import ImageRequest, sample
from erasure_bench.models.zoo import load_model
from erasure_bench.prompt_suites.microworld.vocabulary import (
    FAMILIES,
    IDENTITIES,
    IMPLICIT,
    MEMORISED,
    OBJECTS,
    STYLES,
)
from erasure_bench.prompt_suites.microworld.wording import with_article

COLUMNS = 8
GUIDANCE_SCALE = 4.0
WINDOW = (1200, 860)
"""Of the report's picture, in CSS pixels."""


def prompts() -> list[str]:
    """Five rows of eight: members, objects, styles, identities, implicit and memorised."""
    members = [with_article(name) for family in FAMILIES for name in family.members[:2]]
    styled = [f"a house in {style} style" for style in STYLES] + [
        "a cat in neon style",
        "a boat in sepia style",
    ]
    implicit = [with_article(name) for name in (*IMPLICIT[0].evoking[:3], IMPLICIT[0].without[0])]
    objects = [with_article(name) for name in OBJECTS[:COLUMNS]]
    return [*members, *objects, *styled, *IDENTITIES, *implicit, *MEMORISED]


def leaderboard_svg(run: Path) -> str:
    """The terminal's table as an SVG without web fonts."""
    console = Console(record=True, width=104, file=io.StringIO())
    print_summary(Board.from_json(read_document(run)), console)
    svg = console.export_svg(title="bench run")
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def photograph_report(run: Path, browser: str, picture: Path) -> None:
    """The first screen of the run's report, as a PNG."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        write_site([read_reported(run)], Path(folder) / "report")
        opened = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        width, height = WINDOW
        page = opened.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        page.goto((Path(folder) / "report" / "index.html").as_uri())
        page.wait_for_load_state("networkidle")
        page.screenshot(path=picture)
        opened.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.readme_pictures", description=__doc__)
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("--board", type=Path, default=Path("results/microworld/microworld-instances"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--browser", default=shutil.which("chromium"), help="Chromium's executable")
    given = parser.parse_args()
    if given.browser is None:
        parser.error("no chromium on the path: give --browser")
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "leaderboard.svg").write_text(leaderboard_svg(given.run), encoding="utf-8")
    shutil.copyfile(given.run / "images.png", given.out / "erasing.png")
    photograph_report(given.board, given.browser, given.out / "report.png")
    model = load_model("microworld")
    requests = [
        ImageRequest(prompt, seed, GUIDANCE_SCALE, model.resolution, model.resolution)
        for seed, prompt in enumerate(prompts())
    ]
    pictures = sample(model, requests, scheduler="ddim", steps=20)
    contact_sheet(pictures, COLUMNS).save(given.out / "microworld.png", optimize=True)


if __name__ == "__main__":
    main()
