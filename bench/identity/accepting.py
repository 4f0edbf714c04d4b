"""`python -m erasure_bench.bench.identity.accepting`: binds versions to the code that is here now.

Code whose digest the table does not know is accepted under its version where the fingerprint of that
version comes out the same, measured anew with the settings that it was taken with. Where it does not,
the results have changed: raise the `version` in the card (a part's constant `VERSION`), and run this
again. Until then ids hold the digest of the code, so that nothing old is served. On a machine that rounds
otherwise than the one that the fingerprint was taken on, `--before COMMIT` compares with what the commit's
code makes of the same inputs here.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import NamedTuple

from erasure_bench.bench.identity.earlier import FLAG, Earlier, checked_out
from erasure_bench.bench.identity.fingerprints import Fingerprints, NoLonger, NotHere, fingerprints_of
from erasure_bench.bench.identity.table import (
    KINDS,
    Accepted,
    Fingerprint,
    Kind,
    Numbers,
    accepted,
    bound,
    digest_of,
    write,
)
from erasure_bench.environment import go_offline
from erasure_bench.errors import BenchError

COMMAND = "python -m erasure_bench.bench.identity.accepting"


class Outdated(NamedTuple):
    """What the table does not know as it is here, or knows and is no longer here."""

    kind: Kind
    name: str
    why: str


class Verdict(NamedTuple):
    """What came of one name: the entry to write (None leaves the old one), and why, to be said."""

    entry: Accepted | None
    said: str


def outdated() -> Iterator[Outdated]:
    """Names whose code has another digest than the table says; imports no torch."""
    for kind in KINDS:
        entries = accepted(kind)
        for name in bound(kind):
            if name not in entries:
                yield Outdated(kind, name, "is not in the table")
            elif entries[name].code != digest_of(kind, name):
                yield Outdated(kind, name, "its code has another digest")
        for name in entries.keys() - bound(kind).keys():
            yield Outdated(kind, name, "is registered no longer")


def judge(
    kind: Kind,
    name: str,
    code: str,
    old: Accepted | None,
    let_pass: bool,
    earlier: Earlier | None = None,
) -> Verdict:
    """Whether the code here may have the version in its card; `let_pass` what cannot be measured here.

    Compares with the table's numbers, or with what `earlier` code makes here. Raises as that does.
    """
    how = fingerprints_of(kind)
    version, defaults = how.version(name), how.defaults(name)
    fresh = Accepted(version=version, code=code, defaults=defaults)
    if old is not None and old.version == version:
        if moved := sorted(
            key for key in old.defaults.keys() & defaults if old.defaults[key] != defaults[key]
        ):
            return Verdict(None, f"the defaults of {', '.join(moved)} have changed")
        numbers = {case: taken.numbers for case, taken in old.fingerprints.items()}
        if earlier is not None:
            numbers |= earlier.numbers(kind, name, old)
        differences, unmeasured = _differences(how, name, old, numbers)
        if differences:
            return Verdict(None, "; ".join(differences[:3]))
        if unmeasured and code != old.code and not let_pass:
            what = ", ".join(unmeasured)
            return Verdict(None, f"not run here: {what} (or accept it unmeasured: --unmeasured {name})")
        fresh = dataclasses.replace(
            fresh, unmeasured=tuple(unmeasured) if code != old.code else old.unmeasured
        )
    taken = _taken(how, name, {} if old is None or old.version != version else old.fingerprints)
    return Verdict(dataclasses.replace(fresh, fingerprints=taken), f"version {version}")


def accept(
    names: frozenset[str], let_pass: frozenset[str], everything: bool, earlier: Earlier | None = None
) -> list[Outdated]:
    """Brings the table up to date and says what it did; gives back what needs another version."""
    refused = []
    for kind in KINDS:
        before = accepted(kind)
        entries = {}
        for name in bound(kind):
            code, old = digest_of(kind, name), before.get(name)
            known = old is not None and old.code == code and not everything
            if old is not None and (known or (names and name not in names)):
                entries[name] = old
                continue
            started = time.perf_counter()
            entry, said = judge(kind, name, code, old, name in let_pass, earlier)
            if entry is None:
                refused.append(Outdated(kind, name, said))
            if kept := entry or old:
                entries[name] = kept
            word = "accepted" if entry else "new version needed:"
            _say(f"{word} {kind} {name}: {said} ({time.perf_counter() - started:.1f} s)")
        if entries != before:
            write(kind, entries)
    return refused


def _differences(
    how: Fingerprints, name: str, old: Accepted, numbers: Mapping[str, Numbers]
) -> tuple[list[str], list[str]]:
    """What comes out otherwise than `numbers`, by case, and what cannot be measured on this machine."""
    from erasure_bench.bench.identity.fingerprints.numbers import by_how_much, same, tolerance_of

    differences, unmeasured = [], []
    for case, before in old.fingerprints.items():
        try:
            now = how.measure(name, dict(before.settings))
        except NotHere:
            unmeasured.append(case)
            continue
        except NoLonger as error:
            differences.append(f"{case} cannot be asked for any more ({error})")
            continue
        if before.not_run:
            unmeasured.append(case)  # measured for the first time, with nothing to compare it with
            continue
        known = numbers[case]
        for what in {**known, **now}:
            if what not in known or what not in now:
                differences.append(f"{case}: {what} is {'new' if what in now else 'gone'}")
                continue
            one, other = known[what], now[what]
            if not same(one, other, tolerance_of(what)):
                differences.append(f"{case}: {what} differs{by_how_much(one, other)}")
    return differences, unmeasured


def _taken(how: Fingerprints, name: str, known: Mapping[str, Fingerprint]) -> dict[str, Fingerprint]:
    """Fingerprints of every case; one that is known with these settings stays, so that none drifts."""
    taken = {}
    for case, settings in how.cases(name).items():
        before = known.get(case)
        if before is not None and before.settings == settings and not before.not_run:
            taken[case] = before
            continue
        try:
            taken[case] = Fingerprint(settings=settings, numbers=how.measure(name, settings))
        except NotHere as error:
            taken[case] = Fingerprint(settings=settings, not_run=str(error))
    return taken


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _on_one_thread() -> None:
    """So that what it finds depends on no number of threads: Adam turns what they round apart into steps."""
    import torch

    torch.set_num_threads(1)


def main() -> int:
    """0 where the table is up to date in the end, 1 where something needs another version."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="only these methods, evaluators, suites and parts")
    parser.add_argument("--check", action="store_true", help="compare digests only, write nothing")
    parser.add_argument("--everything", action="store_true", help="measure what the table knows, too")
    parser.add_argument(
        "--unmeasured",
        default="",
        metavar="NAMES",
        help="accept these, apart by commas, though presets of theirs cannot be measured on this machine; "
        "the table says which",
    )
    parser.add_argument(
        FLAG,
        metavar="COMMIT",
        help="compare with what this commit's code makes here, not with the table's numbers, where this "
        "machine rounds otherwise than the one that they were taken on",
    )
    given = parser.parse_args()
    go_offline()
    if given.check:
        found = list(outdated())
        for kind, name, why in found:
            _say(f"{kind} {name}: {why}")
        return int(bool(found))
    _on_one_thread()
    try:
        with checked_out(given.before) if given.before else nullcontext() as earlier:
            refused = accept(
                frozenset(given.names), frozenset(given.unmeasured.split(",")), given.everything, earlier
            )
    except BenchError as error:
        parser.error(str(error))
    if refused:
        what = ", ".join(f"{kind} {name}" for kind, name, _ in refused)
        _say(f"to be mended: {what}; a new version goes into the card, or into VERSION of a part's module")
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main())
