"""A method or an evaluator that is tried out, and what became of it so far."""

from collections.abc import Iterator, Mapping
from typing import Any

from erasure_bench.foreign.checks import Check


class Examination:
    """`run` goes through the checks; `title` and `about` say what is tried out on what."""

    def __init__(self, title: str, checks: Iterator[Check], about: Mapping[str, Any]) -> None:
        self.title, self.about = title, about
        self.checks: list[Check] = []
        self._to_do = checks

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict == "failed")

    @property
    def summary(self) -> str:
        """How many checks passed."""
        tried = [check for check in self.checks if check.verdict != "skipped"]
        skipped = len(self.checks) - len(tried)
        passed = len(tried) - len(self.failed)
        return f"{passed} of {len(tried)} checks passed" + (f", {skipped} skipped" if skipped else "")

    def run(self) -> Iterator[Check]:
        """The checks, each as soon as it is done."""
        for check in self._to_do:
            self.checks.append(check)
            yield check

    def to_json(self) -> dict[str, Any]:
        """The examination in JSON's types."""
        return {
            **self.about,
            "passed": not self.failed,
            "checks": [check._asdict() for check in self.checks],
        }


def said_options(name: str, options: Mapping[str, str]) -> str:
    """`name with key=value, …`."""
    words = ", ".join(f"{key}={value}" for key, value in options.items())
    return f"{name}{f' with {words}' if words else ''}"
