"""`python -m studies.soak_damage`: a store with a byte changed, a file cut short or gone gives the same.

One damage at a time, to files of every kind, then the same `bench run` again: it must end well, without a
traceback, with the scores and the leaderboard of the undamaged run. In every second round what was made from
the damaged entry goes too, so that it must be read. What a run need not read, `bench store verify` must find.
Writes `results/reliability/damage.md`.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.storage.manifest import read_manifest
from erasure_bench.bench.storage.upkeep import places, verify
from studies.soaking import METHODS, Fingerprint, fingerprint, report, run_words

REPORT = "damage.md"
NAME = "damaged"
KINDS = {
    "manifest of an edit": "erase/*/*/manifest.json",
    "manifest of pictures": "generate/*/*/manifest.json",
    "manifest of scores": "score/*/*/manifest.json",
    "manifest of the cache": "cache/*/*/manifest.json",
    "edit.json": "erase/*/*/edit.json",
    "weights of an edit": "erase/*/*/*.safetensors",
    "picture": "generate/*/*/*.png",
    "scores": "score/*/*/scores.parquet",
    "shared tensors": "cache/*/*/*.safetensors",
    "remembered settings": "settings/*.json",
}
MADE_FROM = {"cache": "erase", "erase": "generate", "generate": "score"}
"""What is read only to make the other."""


class Damage(NamedTuple):
    """A way to damage a file."""

    name: str
    do: Callable[[Path, random.Random], None]


def change_byte(path: Path, chance: random.Random) -> None:
    """One byte becomes another."""
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    path.write_bytes(data)


def cut(path: Path, chance: random.Random) -> None:
    """Only a random first part is left, perhaps nothing."""
    os.truncate(path, chance.randrange(path.stat().st_size))


def remove(path: Path, chance: random.Random) -> None:
    """The file is gone."""
    path.unlink()


BYTE = Damage("byte changed", change_byte)
CUT = Damage("cut short", cut)
GONE = Damage("removed", remove)


def one(
    work: Path, expected: Fingerprint, kind: str, damage: Damage, chance: random.Random, *, exposed: bool
) -> bool:
    """One round; whether the run met the damage. Raises AssertionError where anything is not as it was."""
    store = work / NAME / "store"
    path = chance.choice(sorted(store.glob(KINDS[kind])))
    whole = path.read_bytes()
    if exposed:
        for folder in _made_from(store, path):
            shutil.rmtree(folder)
    damage.do(path, chance)
    said = bench_run(work)
    what = f"{kind} {path.name}, {damage.name}"
    results = fingerprint(work, NAME)
    assert (results.rows, results.scores) == (expected.rows, expected.scores), f"{what}: other numbers"
    _, found = verify(store, move=False)
    if found:
        assert [entry.id for entry in found] == [path.parent.name], f"{what}: {found}"
        path.write_bytes(whole)
    met = not found and ("made anew" in said or "counts as missing" in said)
    if not met and not found:
        assert path.exists(), f"{what}: gone and not missed"
        same = path.read_bytes() == whole or json.loads(path.read_bytes()) == json.loads(whole)
        assert same, f"{what}: neither made anew nor found"
        met = damage is GONE  # made anew, and nothing to say of it
    assert fingerprint(work, NAME) == expected, f"{what}: other pictures or weights"
    return met


def bench_run(work: Path) -> str:
    """What the command says on stderr. Raises AssertionError where it does not end well."""
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        code = run_command(run_words(work, NAME))
    assert code == 0 and "Traceback" not in said.getvalue(), said.getvalue()
    return said.getvalue()


def _made_from(store: Path, path: Path) -> Iterator[Path]:
    """Entries that are read from the damaged one's kind, so that the run must read it: those that name it.

    Of the cache's it is every edit that could be: none says which shared tensors it read.
    """
    kind = path.relative_to(store).parts[0]
    made = MADE_FROM.get(kind)
    for place in places(store):
        if place.kind != made:
            continue
        about = read_manifest(place.folder, place.kind, place.id).about
        if path.parent.name in (about.get("erase"), about.get("generate")) or (
            kind == "cache" and about.get("method", "").startswith("ca-")
        ):
            yield place.folder


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.soak_damage", description=__doc__)
    parser.add_argument("--bytes", type=int, default=200, help="how many bytes, one at a time")
    parser.add_argument("--others", type=int, default=40, help="files cut short, and as many removed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(".bench/soak-damage"))
    parser.add_argument("--out", type=Path, default=Path("results/reliability"))
    given = parser.parse_args()
    shutil.rmtree(given.work, ignore_errors=True)
    started = time.monotonic()
    chance = random.Random(given.seed)
    bench_run(given.work)
    expected = fingerprint(given.work, NAME)
    damages = [BYTE] * given.bytes + [CUT] * given.others + [GONE] * given.others
    rounds: Counter[tuple[str, str]] = Counter()
    met: Counter[tuple[str, str]] = Counter()
    for number, damage in enumerate(damages):
        kind = list(KINDS)[number % len(KINDS)]
        exposed = number // len(KINDS) % 2 == 1
        rounds[kind, damage.name] += 1
        met[kind, damage.name] += one(given.work, expected, kind, damage, chance, exposed=exposed)
        print(
            f"{time.monotonic() - started:.0f} s, {number + 1} of {len(damages)}: {kind}, {damage.name}",
            file=sys.stderr,
            flush=True,
        )
    total, mended = sum(rounds.values()), sum(met.values())
    names = [damage.name for damage in (BYTE, CUT, GONE)]
    shares = ", ".join(f"{_of(rounds, name)} {name}" for name in names)
    report(
        given.out / REPORT,
        "A store damaged again and again",
        f"python -m studies.soak_damage --bytes {given.bytes} --others {given.others} --seed {given.seed}",
        [
            f"The run: {METHODS} on one concept of `microworld-instances`, one prompt of each role, `clip`.",
            f"{total} rounds, one damage each ({shares}), "
            "then the same `bench run`: exit code 0, no traceback, and the scores (`scores.parquet`), the "
            "leaderboard's numbers, the pictures and the weights of the undamaged run to the bit, each time. "
            "What an edit cost is a time, measured anew where an edit is made anew.",
            f"In {mended} rounds the run met the damage, said so in one line and made that entry anew, "
            "or made anew what was gone without a trace. In "
            f"the other {total - mended} it had no need to read the file, as what is made from it was there, "
            "or the byte was white space of JSON; `bench store verify` finds all that the run did not read.",
            f"The whole took {(time.monotonic() - started) / 60:.0f} minutes.",
        ],
        [
            ["file", *(f"{name}: met of all" for name in names)],
            *([kind, *(f"{met[kind, name]} of {rounds[kind, name]}" for name in names)] for kind in KINDS),
        ],
    )


def _of(counts: Counter[tuple[str, str]], name: str) -> int:
    return sum(count for (_, of), count in counts.items() if of == name)


if __name__ == "__main__":
    main()
