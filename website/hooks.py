"""What mkdocs calls while it builds the site (`hooks` in mkdocs.yml)."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `mkdocs` is a program of its own: the working folder is not on its path
    sys.path.append(str(ROOT))


def on_files(files: "Files", *, config: "MkDocsConfig") -> "Files":
    """Adds the pages that are made from the code, and the repository's files that pages link to."""
    from mkdocs.structure.files import File

    from website.cards import card_pages
    from website.commands import command_pages
    from website.navigation import completed
    from website.published import published_pages
    from website.repository import linked

    own = {file.src_uri: Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path}
    made = {**card_pages(), **command_pages(), **published_pages()}
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    brought = linked(own.values())
    for place, path in brought.items():
        files.append(File.generated(config, place, abs_src_path=str(path)))
    pages = sorted(place for place in brought if place.endswith(".md"))
    config.nav = completed(config.nav or [], [*made, *pages], list(own))
    return files


def on_page_markdown(markdown: str, *, page: "Page", **_: Any) -> str:
    """Turns links to files of the repository into links of the site."""
    from website.repository import relinked

    path = page.file.abs_src_path
    return relinked(markdown, Path(path)) if path else markdown
