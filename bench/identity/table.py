"""The committed table of versions: which code a version names, and what that code made of fixed inputs.

One JSON file for each kind in `accepted/`, written by `bench.identity.accepting` alone. At a merge
conflict take either side and run that command again.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from erasure_bench.attacks.registry import ATTACKS
from erasure_bench.evaluators.registry import EVALUATORS
from erasure_bench.foreign.sources import code_digest
from erasure_bench.methods.registry import METHODS
from erasure_bench.prompt_suites.registry import SUITES, suite_card

Kind = Literal["method", "evaluator", "suite", "part", "attack"]
KINDS: tuple[Kind, ...] = get_args(Kind)

PARTS: dict[str, str] = {
    "sampler": "erasure_bench.models.sampling",
    "user-weights": "erasure_bench.methods.machinery.user_weights",
    "base-images": "erasure_bench.methods.machinery.base_images",
    "fisher": "erasure_bench.methods.selective_amnesia.general_set",
}
"""What results rest on besides methods and evaluators: a name and the module with its `VERSION`."""

FOLDER = Path(__file__).parent / "accepted"

Numbers = Mapping[str, list[float] | str]
"""By what was measured: numbers that hold within rounding, or a text that holds to the letter."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What code made of fixed inputs under `settings`; `not_run` says why it has no numbers."""

    settings: Mapping[str, Any]
    numbers: Numbers = field(default_factory=dict)
    not_run: str = ""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A version, the digest of the code that it names here, and the fingerprints of that version.

    `defaults` are those of the settings' class. `unmeasured` names the fingerprints that could not
    be taken when the digest was last accepted, and were let pass by --unmeasured.
    """

    version: str
    code: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    unmeasured: tuple[str, ...] = ()
    fingerprints: Mapping[str, Fingerprint] = field(default_factory=dict)


def bound(kind: Kind) -> dict[str, str]:
    """The names of a kind that have versions, each with the module whose code it rests on."""
    of = {"method": METHODS, "evaluator": EVALUATORS, "suite": SUITES, "part": PARTS, "attack": ATTACKS}
    targets = of[kind]
    return {name: target.partition(":")[0] for name, target in targets.items()}


def digest_of(kind: Kind, name: str) -> str:
    """The digest of what a name of `bound` stands for here: its module's code, and a suite's own file.

    Raises as `code_digest` does.
    """
    code = code_digest(bound(kind)[name])
    said = suite_card(name).digest if kind == "suite" else ""
    return hashlib.sha256(f"{code} {said}".encode()).hexdigest() if said else code


@functools.cache
def accepted(kind: Kind) -> dict[str, Accepted]:
    """The committed entries of a kind by name."""
    path = _path(kind)
    if not path.is_file():
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {name: _entry(**entry) for name, entry in entries.items()}


def write(kind: Kind, entries: Mapping[str, Accepted]) -> None:
    """Puts the entries of a kind in the place of those that were there, in the registry's order."""
    lines = [
        f"{json.dumps(name)}: {_text(asdict(entries[name]), 1)}" for name in bound(kind) if name in entries
    ]
    _path(kind).write_text("{\n " + ",\n ".join(lines) + "\n}\n", encoding="utf-8")
    accepted.cache_clear()


def _path(kind: Kind) -> Path:
    return FOLDER / f"{kind}s.json"


def _entry(
    version: str, code: str, defaults: Any, unmeasured: list[str], fingerprints: Mapping[str, Any]
) -> Accepted:
    return Accepted(
        version=version,
        code=code,
        defaults=defaults,
        unmeasured=tuple(unmeasured),
        fingerprints={name: Fingerprint(**taken) for name, taken in fingerprints.items()},
    )


def _text(value: Any, depth: int) -> str:
    """JSON with one line for each number or list of them, so that a diff shows what moved."""
    if isinstance(value, Mapping) and value and depth < _FLAT:
        indent = " " * (depth + 1)
        items = [f"{indent}{json.dumps(key)}: {_text(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{' ' * depth}}}"
    return json.dumps(value, ensure_ascii=False)


_FLAT = 5
"""How deep the fingerprints' numbers lie."""
