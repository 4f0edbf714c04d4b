"""Links from the site's pages to files of the repository that are not in docs/: these come along.

In the site docs/ is the root, and every other file lies where it does in the repository.
"""

import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_ELSEWHERE = re.compile(r"[a-z][a-z+.-]*:|/")


def linked(pages: Iterable[Path]) -> dict[str, Path]:
    """The files outside docs/ that pages lead to, directly or by another such page, by place in the site."""
    found: dict[str, Path] = {}
    waiting = list(pages)
    while waiting:
        page = waiting.pop()
        for match in _LINK.finditer(page.read_text(encoding="utf-8")):
            path = _meant(match[2], page)
            if path is None or path.is_relative_to(DOCS) or not path.is_file():
                continue
            if (place := _place(path)) not in found:
                found[place] = path
                waiting += [path] if path.suffix == ".md" else []
    return found


def relinked(text: str, page: Path) -> str:
    """The text of the page, a file, with its links to files of the repository as links of the site."""

    def turned(match: re.Match[str]) -> str:
        path = _meant(match[2], page)
        if path is None:
            return match[0]
        return (
            f"{match[1]}{posixpath.relpath(_place(path), posixpath.dirname(_place(page)) or '.')}{match[3]}"
        )

    return _LINK.sub(turned, text)


def _meant(link: str, page: Path) -> Path | None:
    """The path that a link in the file means; None where it is an address, or leads out of the repository."""
    if _ELSEWHERE.match(link):
        return None
    path = Path(os.path.normpath(page.parent / link))
    return path if path.is_relative_to(ROOT) else None


def _place(path: Path) -> str:
    """Where a file of the repository lies in the site."""
    return path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT).as_posix()
