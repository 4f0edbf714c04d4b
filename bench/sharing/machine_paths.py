"""Paths of one machine in what leaves it: taken out of a run that is packed, refused in a public folder.

A path is told by where it begins: in a folder that lies at the root of this machine, or that usually lies
there. Of each its last part stays, behind `…/`.
"""

import os
import re
import site
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from erasure_bench.bench.words.showing import in_markdown

AWAY = "…/"
_USUAL = {
    *("home", "Users", "root", "mnt", "media", "tmp", "var", "opt", "srv", "usr", "etc", "private"),
    *("Volumes", "data", "scratch", "work", "workspace", "content", "kaggle", "gpfs", "lustre", "nfs"),
}
_PART = r"/(?:[\w.@+~=,-]|\\[^a-zA-Z0-9\s])+"
"""A part of a path, in Markdown too, where some characters stand behind a backslash."""
_PATH = re.compile(rf"(?<![\w/.…~<-])(?:file://[\w.-]*)?/(?P<first>[\w.@+-]+)(?:{_PART})+/?")
_WINDOWS = re.compile(r"(?<![\w])(?:file:///)?[A-Za-z]:(?:\\{1,2}|/)(?:[\w.@+ ~-]+(?:\\{1,2}|/))*[\w.@+~-]+")
_CODE = ("site-packages/", "dist-packages/", "erasure_bench/")
"""What stays of a path in a traceback: the module, in its package."""


def found_in(text: str) -> list[str]:
    """The paths of a machine in a text, this one or another."""
    unix = [match[0] for match in _PATH.finditer(text) if match["first"] in _roots()]
    return [*unix, *(match[0] for match in _WINDOWS.finditer(text))]


class Scrubber:
    """Takes paths out of texts: those named, whatever is in them, and all that looks like one."""

    def __init__(self, named: Iterable[str] = ()) -> None:
        own = {path for path in (*named, *_of_this_process()) if path.startswith("/") and len(path) > 1}
        longest = sorted(own | set(map(in_markdown, own)), key=len, reverse=True)
        names = "|".join(map(re.escape, longest))
        self._named = re.compile(rf"(?:file://)?(?:{names})(?![\w.-])(?:{_PART})*") if names else None

    def text(self, text: str) -> str:
        """The text with `…/NAME` for each path."""
        if (
            text.startswith("/")
            and "\n" not in text
            and Path(text).parts[1:2]
            and Path(text).parts[1] in _roots()
        ):
            return _short(text)
        if self._named is not None:
            text = self._named.sub(lambda match: _short(match[0]), text)
        text = _PATH.sub(lambda match: _short(match[0]) if match["first"] in _roots() else match[0], text)
        return _WINDOWS.sub(lambda match: AWAY + re.split(r"[\\/]", match[0])[-1], text)

    def values(self, value: Any) -> Any:
        """The same for every text in JSON's values, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(key): self.values(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.values(one) for one in value]
        return value


def is_path(text: str) -> bool:
    """Whether all of the text is a path from a machine's root, whatever characters it has."""
    return text.startswith("/") and "\n" not in text and text.split("/")[1] in _roots()


def paths_in(value: Any) -> set[str]:
    """The texts in JSON's values that are a path and nothing else, whatever characters it has."""
    if isinstance(value, str):
        return {value} if is_path(value) else set()
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return set().union(*map(paths_in, inside))


def _short(path: str) -> str:
    tail = next((path[path.rindex(mark) :] for mark in _CODE if mark in path), None)
    if tail is not None:
        return AWAY + tail.removeprefix("site-packages/").removeprefix("dist-packages/")
    return AWAY + path.rstrip("/").rpartition("/")[2]


@cache
def _roots() -> frozenset[str]:
    try:
        here = {entry.name for entry in os.scandir("/") if entry.is_dir()}
    except OSError:
        here = set()
    return frozenset(_USUAL | here)


@cache
def _of_this_process() -> tuple[str, ...]:
    places = [os.getcwd(), str(Path.home()), sys.prefix, tempfile.gettempdir(), *site.getsitepackages()]
    return tuple(dict.fromkeys(places))
