"""What stands in the site's menu: what mkdocs.yml lists, and every page that it does not."""

from collections.abc import Iterator, Sequence
from typing import Any

INDEX = "index.md"
REST = "More"


def completed(nav: Sequence[Any], made: Sequence[str], own: Sequence[str]) -> list[Any]:
    """The menu with the pages of each folder below its index, and a last section for what nobody listed."""
    whole = [_with_folders(entry, made) for entry in nav]
    listed = set(_pages(whole))
    rest = [page for page in own if page not in listed]
    return [*whole, {REST: rest}] if rest else whole


def _with_folders(entry: Any, made: Sequence[str]) -> Any:
    """An entry with each `FOLDER/index.md` in it replaced by that page and all others of the folder."""
    if isinstance(entry, dict):
        return {title: _with_folders(inside, made) for title, inside in entry.items()}
    if isinstance(entry, list):
        return [_with_folders(inside, made) for inside in entry]
    folder = entry.removesuffix(INDEX)
    if not folder or folder == entry or entry not in made:
        return entry
    return [entry, *(page for page in made if page.startswith(folder) and page != entry)]


def _pages(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for inside in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from _pages(inside)
