"""Promises that someone's code makes, tried one by one: what `bench check` prints."""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeVar

from erasure_bench.foreign.errors import contained, described

Verdict = Literal["ok", "failed", "skipped"]
Subject = TypeVar("Subject")


class Check(NamedTuple):
    """One promise: whether it is kept, and if not, or if it was not tried, why."""

    name: str
    verdict: Verdict
    why: str = ""


class Broken(Exception):
    """A promise that is not kept."""


class NotAsked(Exception):
    """A promise that this thing does not make."""


def tried(
    checks: Mapping[str, Callable[[Subject], None]], subject: Subject, file: str | None
) -> Iterator[Check]:
    """The checks one by one, each as soon as it is done; where the first fails the others are skipped.

    A check raises Broken or NotAsked; any other exception is a failure, told with its line of `file`.
    """
    (name, check), *others = checks.items()
    first = _try(name, check, subject, file)
    yield first
    for name, check in others:
        yield (
            _try(name, check, subject, file)
            if first.verdict == "ok"
            else Check(name, "skipped", f"not tried: {first.name!r} failed")
        )


def _try(name: str, check: Callable[[Subject], None], subject: Subject, file: str | None) -> Check:
    try:
        with contained("it", file):
            check(subject)
    except NotAsked as reason:
        return Check(name, "skipped", str(reason))
    except Broken as reason:
        return Check(name, "failed", str(reason))
    except Exception as error:
        return Check(name, "failed", described(error, file))
    return Check(name, "ok")
