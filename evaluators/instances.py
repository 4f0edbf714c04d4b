"""One evaluator several times in a run: `NAME@LABEL` is NAME as an instance of its own."""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from erasure_bench.errors import UnknownName
from erasure_bench.foreign.files import in_file

_LABEL = re.compile(r"[\w.+-]+")


class Instance(NamedTuple):
    """An evaluator's name, registered or PATH.py:NAME, and what tells it from its others, if anything."""

    name: str
    label: str | None

    def labelled(self, name: str) -> str:
        """`name`, by which the evaluator is called elsewhere, with this label."""
        return f"{name}@{self.label}" if self.label else name


def instance(written: str) -> Instance:
    """What `written` names: NAME, or NAME@LABEL, where LABEL is letters, digits and `_ . + -`."""
    name, at, label = written.rpartition("@")
    if not name or not at or not _LABEL.fullmatch(label) or (in_file(written) and not in_file(name)):
        return Instance(written, None)
    return Instance(name, label)


def check_label(written: str, presets: Collection[str], own_options: Mapping[str, str]) -> None:
    """Raises UnknownName for a label that says nothing: no preset, and without options of its own."""
    label = instance(written).label
    if label and label not in presets and not own_options:
        flag = f"--evaluators NAME@PRESET, or --evaluator-option {written}.KEY=VALUE for settings of your own"
        raise UnknownName("preset", label, presets, flag)
