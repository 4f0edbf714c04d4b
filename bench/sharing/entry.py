"""entry.yaml: what somebody says of the run that they submit to a public folder of results."""

import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.errors import BenchError
from erasure_bench.yaml_files import read_yaml

ENTRY = "entry.yaml"
FORMAT = "erasure-bench entry 1"
_URL = re.compile(r"https://[^\s/]+\.[^\s/]+(/\S*)?")
Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\n]*$")
]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=20, max_length=2000)]


class Entry(BaseModel):
    """`name` becomes the folder's; `licence` is that of the results and of these words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["erasure-bench entry 1"]
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{1,63}$")]
    title: Line
    authors: Annotated[tuple[Line, ...], Field(min_length=1)]
    summary: Words
    licence: Literal["CC0-1.0", "CC-BY-4.0", "MIT"]
    paper: Line | None = None
    code: Line | None = None

    @field_validator("paper", "code")
    @classmethod
    def _address(cls, text: str | None) -> str | None:
        if text is not None and not _URL.fullmatch(text):
            raise ValueError(f"{text!r} is no address: write https://…")
        return text

    def text(self) -> str:
        """As a file."""
        return yaml.safe_dump(
            self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True
        )


def read_entry(path: Path) -> Entry:
    """Raises BenchError with file, line and key."""
    return read_yaml(Entry, path, "--entry")


def write_template(path: Path, name: str) -> None:
    """An entry to fill in; raises BenchError where a file lies there."""
    if path.exists():
        raise BenchError(f"--template {path}: is there already; name a new file")
    try:
        write_text(
            path, _TEMPLATE.format(format=FORMAT, name=re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-"))
        )
    except OSError as error:
        raise BenchError(f"--template {path}: {error.strerror or error}") from error


_TEMPLATE = """\
format: {format}
name: {name}                  # the folder's: small letters, digits, . _ -
title: ""                     # one line
authors: []                   # [Ada Lovelace, …]
summary: ""                   # what is new in it, in 20 to 2000 characters
licence: CC-BY-4.0            # of the results: CC0-1.0, CC-BY-4.0 or MIT
# paper: https://arxiv.org/abs/…
# code: https://github.com/…
"""
