"""YAML with the line of every key, so that a mistake is shown where it stands."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from erasure_bench.errors import BenchError

MOST_NODES = 100_000
"""Keys and values with every alias written out: a file of a few lines can stand for billions."""
_LONGEST_INTEGER = 100
"""Characters: Python refuses to print one of thousands."""
_INTEGER = "tag:yaml.org,2002:int"
_NO_KEYS = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary"}
"""What JSON has no key of."""

Place = tuple[str | int, ...]
"""A way into the document: ("concepts", 0, "kind")."""


class Marked(NamedTuple):
    """A document in Python's own types, and the line (from 1) of every place in it."""

    value: Any
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int:
        """The line of the place, else of the nearest place around it."""
        known = (place[:end] for end in range(len(place), -1, -1))
        return next((self.lines[around] for around in known if around in self.lines), 1)


def read_marked(text: str, where: str) -> Marked:
    """The one document in `text`; `where` names the file in errors.

    Raises BenchError, in one line with the line's number, for what is no YAML, holds a tag of Python's,
    names a key twice, refers to itself or stands for more than `MOST_NODES` values.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise BenchError(f"{where}: is empty")
        lines: dict[Place, int] = {}
        for count, (place, line) in enumerate(_walk(node, (), where, frozenset())):
            if count > MOST_NODES:
                raise _TooMany
            lines[place] = line
        return Marked(loader.construct_document(node), lines)
    except _TooMany as error:
        raise BenchError(
            f"{where}: holds more than {MOST_NODES:,} values with its aliases written out"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"{where}:{mark.line + 1}" if mark else where
        raise BenchError(f"{at}: is no YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise BenchError(f"{where}: is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise BenchError(f"{where}: is nested too deeply") from error
    except (ValueError, LookupError, AttributeError) as error:  # no date, no number or none of that tag
        raise BenchError(f"{where}: holds a value that cannot be read: {error}; put it in quotes") from error


class _TooMany(Exception):
    """More than `MOST_NODES` values."""


class _Loader(yaml.SafeLoader):
    """Gives up on a document of more than `MOST_NODES` values while it reads, not after it."""

    _count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._count += 1
        if self._count > MOST_NODES:
            raise _TooMany
        return super().compose_node(parent, index)


def _walk(node: yaml.Node, place: Place, where: str, above: frozenset[int]) -> Iterator[tuple[Place, int]]:
    line = node.start_mark.line + 1
    if id(node) in above:
        raise BenchError(f"{where}:{line}: refers to itself")
    yield place, line
    if node.tag == _INTEGER and len(node.value) > _LONGEST_INTEGER:
        raise BenchError(f"{where}:{line}: a number of {len(node.value):,} digits: put it in quotes")
    inside = above | {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _walk(item, (*place, number), where, inside)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, at = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise BenchError(f"{where}:{at}: {name!r} is there twice, first in line {seen[name]}")
            if key.tag in _NO_KEYS:
                raise BenchError(f"{where}:{at}: {name!r} is no key: put it in quotes")
            seen[name] = at
            for below, its_line in _walk(value, (*place, name), where, inside):
                yield below, at if below == (*place, name) else its_line
