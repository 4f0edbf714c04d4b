"""The documentation site: built strictly, with a page for everything that is registered and no dead link."""

import posixpath
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

from erasure_bench.bench.cli.cards import KINDS, Kind, listed, sheet_of
from erasure_bench.bench.reporting.published import published
from website.cards import OF_THIS_MACHINE

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "mkdocs.yml"


class Page(HTMLParser):
    """The ids of a page, what it links to and what it loads, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value}
        self.ids |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag != "a":
            self.loaded += [found[name] for name in ("src", "href") if name in found]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


class Site(NamedTuple):
    """A built site: its folder, and its pages by their places in it."""

    folder: Path
    pages: dict[str, Page]

    def words(self, place: str) -> str:
        """The words of a page, white space as single spaces."""
        return " ".join("".join(self.pages[place].words).split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Built as `make docs` builds it: any warning is an error."""
    pytest.importorskip("material", reason="mkdocs-material is not installed (pip install '.[docs]')")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(CONFIG), site_dir=str(folder), strict=True))
    paths = [path for path in sorted(folder.rglob("*.html")) if path.name != "404.html"]  # served anywhere
    pages = {path.relative_to(folder).as_posix(): Page(path.read_text(encoding="utf-8")) for path in paths}
    return Site(folder, pages)


def targets(page: str, links: list[str]) -> Iterator[tuple[str, str]]:
    """Where the links lead that do not leave the site: the place, and the id there."""
    for link in links:
        parts = urlsplit(link)
        if not parts.scheme and not parts.netloc:
            place = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path)))
            yield (place if parts.path else page), unquote(parts.fragment)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_is_registered_has_a_page_with_its_card(site: Site, kind: Kind) -> None:
    index = dict(targets(f"{kind}/index.html", site.pages[f"{kind}/index.html"].links))
    for name, title, _ in listed(kind):
        assert f"{kind}/{name}.html" in index, f"{name} is not in the list of {kind}"
        assert title in site.words(f"{kind}/{name}.html")


@pytest.mark.slow
def test_every_command_has_a_page_with_all_of_its_options(site: Site) -> None:
    import typer

    from erasure_bench.bench.cli.app import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {"run", "gate", "show", "store"} <= set(commands)
    for name, command in commands.items():
        words = site.words(f"cli/{name}.html")
        for each in (command, *getattr(command, "commands", {}).values()):
            options = {option for parameter in each.params for option in parameter.opts}
            assert {option for option in options if option not in words and option.startswith("--")} == set()


@pytest.mark.slow
def test_the_papers_tables_have_every_number(site: Site) -> None:
    words = site.words("paper-tables.html")
    for number in published().numbers:
        mark = "" if number.verified else " ?"
        assert f"{number.value:g}{mark}" in words and number.paper in words and number.metric in words


@pytest.mark.slow
def test_every_link_leads_to_a_page_and_an_id_that_are_there(site: Site) -> None:
    dead = []
    for name, page in site.pages.items():
        for place, anchor in targets(name, [*page.links, *page.loaded]):
            path = site.folder / place
            path = path / "index.html" if path.is_dir() else path
            there = path.is_file() and (
                not anchor
                or path.suffix != ".html"
                or anchor in site.pages[path.relative_to(site.folder).as_posix()].ids
                or anchor == "__top"
            )
            if not there:
                dead.append(f"{name}: {place}#{anchor}")
    assert dead == []


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Site) -> None:
    loaded = {link for page in site.pages.values() for link in page.loaded if urlsplit(link).netloc}
    assert loaded == set()
    styles = "".join(path.read_text(encoding="utf-8") for path in site.folder.rglob("*.css"))
    assert re.findall(r"url\((?:https?:)?//", styles) == []


@pytest.mark.slow
def test_every_page_of_docs_is_in_the_menu(site: Site) -> None:
    menu = {place for place, _ in targets("index.html", site.pages["index.html"].links)}
    pages = {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")}
    assert pages - menu == set()


@pytest.mark.slow
def test_what_markdown_obeys_is_shown_as_it_is_written(site: Site) -> None:
    """A formula of a card with stars, bars and underscores, and code that holds a bar, in a table or not."""
    for kind in KINDS:
        for name, _, _ in listed(kind):
            words = site.words(f"{kind}/{name}.html")
            for fact, text in sheet_of(kind, name).facts.items():
                shown = re.sub(r"docs/([\w-]+)\.md", lambda found: found[1].replace("-", " "), text)
                plain = " ".join(shown.replace("`", "").split())
                if fact == "formula":  # x_t is set as x and a subscript
                    assert plain.replace("_", "") in words.replace("_", ""), f"{name}: {plain}"
                else:
                    assert plain in words or fact in OF_THIS_MACHINE, f"{name}, {fact}: {plain}"


DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_a_list_starts_after_an_empty_line(document: Path) -> None:
    """GitHub's Markdown shows one that does not as a list, the site's shows it as part of the paragraph."""
    text = re.sub(
        r"^ *```.*?^ *```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    broken = re.findall(r"^(?![-*#|>]|\d+\.|\s)[^\n]+\n(?:[-*] |1\. )[^\n]*", text, re.MULTILINE)
    assert broken == []
