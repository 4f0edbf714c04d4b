"""The card of a suite: what `bench list suites` and `bench show` say without loading its data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from erasure_bench.prompt_suites.fetch import UpstreamFile
from erasure_bench.prompt_suites.suite import Suite


@dataclass(frozen=True, kw_only=True)
class SuiteCard:
    """A suite before its data are loaded.

    `load` takes the folder of upstream data, if the user named one, and the suite's options with
    every option present. `options` gives the valid values of each option, the default first.
    `further_evaluators` measure it beside its own where what they need is here: the papers' measures, which
    want weights. They are no part of what the suite asks.
    `concepts` are the concepts that the suite has in its default form. A suite that is not
    `reported` exists to tune methods on; no table of results shows it. `version` names the prompts and
    the protocol: another one is due where they change. `upstream` are the files that are not in the
    project, in groups of which one file is enough. `digest` says what a suite's own file says, if it has one.
    """

    name: str
    title: str
    description: str
    concepts: tuple[str, ...]
    model: str
    version: str = "1"
    load: Callable[[Path | None, Mapping[str, str]], Suite]
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = "made for this project"
    licence: str = ""
    reported: bool = True
    upstream: tuple[tuple[UpstreamFile, ...], ...] = ()
    digest: str = ""
    further_evaluators: tuple[str, ...] = ()

    @property
    def pinned(self) -> dict[str, str]:
        """The sha256 of the files of upstream by their paths there."""
        return {file.path: file.sha256 for group in self.upstream for file in group}
