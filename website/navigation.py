"""What stands in the site's menu: what mkdocs.yml lists, and every page that it does not."""

from collections.abc import Iterator, Sequence
from typing import Any

INDEXES = ("index.md", "README.md")
REST = "More"


def completed(nav: Sequence[Any], made: Sequence[str], own: Sequence[str]) -> list[Any]:
    """The menu with the pages of each folder below its index, and a last section for what nobody listed.

    `own` are the pages of docs/, `made` those that were added to them.
    """
    whole = [_with_folders(entry, made) for entry in nav]
    listed = set(_pages(whole))
    rest = [page for page in own if page not in listed]
    return [*whole, {REST: rest}] if rest else whole


def _with_folders(entry: Any, made: Sequence[str]) -> Any:
    """An entry with each index of a folder of added pages replaced by that page and the folder's others."""
    if isinstance(entry, dict):
        return {title: _with_folders(inside, made) for title, inside in entry.items()}
    if isinstance(entry, list):
        return [_with_folders(inside, made) for inside in entry]
    folder, _, name = entry.rpartition("/")
    if not folder or name not in INDEXES or entry not in made:
        return entry
    return [entry, *(page for page in made if page.startswith(f"{folder}/") and page != entry)]


def _pages(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for inside in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from _pages(inside)
