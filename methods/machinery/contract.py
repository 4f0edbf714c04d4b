"""What every method promises, as checks that can be run on any method, a user's own included."""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.foreign.checks import Broken, Check, NotAsked, tried
from erasure_bench.methods.base import Method
from erasure_bench.methods.edit import Edit, check_edit
from erasure_bench.methods.machinery.attachments import same
from erasure_bench.methods.machinery.interruption import Interrupting, Interruption
from erasure_bench.methods.machinery.rehearsal import Rehearsal
from erasure_bench.methods.machinery.traces import some
from erasure_bench.methods.machinery.training import NotResumable
from erasure_bench.methods.registry import build_method, uses_seed
from erasure_bench.models.weights import changed_tensors

NO_SUCH_SETTING = "no_such_setting"


def check_contract(
    rehearsal: Rehearsal, more: Mapping[str, Callable[[Rehearsal], None]] | None = None
) -> Iterator[Check]:
    """The checks of `CHECKS`, then `more`, each as soon as it is done; the model is afterwards as it was.

    A method that does not run at all has its other checks skipped.
    """
    yield from tried({**CHECKS, **(more or {})}, rehearsal, _file(rehearsal.method))


def _runs(at: Rehearsal) -> None:
    try:
        check_edit(at.first.edit, at.trial.model, at.trial.concepts[:1])
    except BenchError as error:
        raise Broken(str(error)) from error


def _restores_the_base(at: Rehearsal) -> None:
    if at.first.left_changed:
        raise Broken(f"left behind: {at.first.left_changed}")


def _leaves_global_random_state(at: Rehearsal) -> None:
    if at.first.generators_used:
        raise Broken(
            f"drew from or seeded {at.first.generators_used}: use a Generator seeded by context.seed"
        )


def _is_deterministic(at: Rehearsal) -> None:
    if differences := _differences(at.first.edit, at.again.edit):
        raise Broken(f"a second run with the same seed gave other {differences}")


def _seed_matters(at: Rehearsal) -> None:
    first, other = at.first.edit, at.other_seed.edit
    if not uses_seed(at.trial.method, at.method):
        if differences := _differences(first, other):
            raise Broken(f"seeds 0 and 1 give other {differences}, but uses_seed says that none does")
        return
    if not first.losses:
        raise NotAsked("it trains nothing")
    others = other.all_tensors
    if first.all_tensors.keys() == others.keys() and all(
        torch.equal(tensor, others[name]) for name, tensor in first.all_tensors.items()
    ):
        raise Broken("seeds 0 and 1 train the same weights: is context.seed used?")


def _goes_on_after_an_interruption(at: Rehearsal) -> None:
    first = at.first.edit
    if len(first.losses) < 2:
        raise NotAsked("it trains no two steps")
    checkpoints = Interrupting(after=len(first.losses) // 2)
    with suppress(Interruption):
        at.run(at.trial.concepts[:1], checkpoints=checkpoints)
        raise NotAsked("it keeps no checkpoints (FineTune's loop does)")
    try:
        resumed = at.run(at.trial.concepts[:1], checkpoints=checkpoints.resumed()).edit
    except NotResumable as error:
        raise Broken(str(error)) from error
    if differences := _differences(first, resumed):
        raise Broken(f"interrupted and gone on with, it gave other {differences}")


def _is_finite(at: Rehearsal) -> None:
    edit = at.first.edit
    tensors = edit.all_tensors
    if infinite := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise Broken(f"not finite: {some(infinite)}")
    if not all(math.isfinite(loss) for loss in edit.losses):
        raise Broken("not finite: its losses")
    if elsewhere := [name for name, tensor in tensors.items() if tensor.device.type != "cpu"]:
        raise Broken(f"not on the CPU: {some(elsewhere)}")


def _reports_cost(at: Rehearsal) -> None:
    edit = at.first.edit
    cost = edit.cost
    if cost.steps != len(edit.losses):
        raise Broken(f"{cost.steps} steps in its cost, but {len(edit.losses)} losses")
    if edit.all_tensors and not (cost.seconds > 0 and cost.peak_memory_bytes > 0):
        raise Broken("it learned something, but its cost has no seconds or no memory (FineTune.cost, Meter)")


def _reports_progress(at: Rehearsal) -> None:
    losses = list(at.first.edit.losses)
    if not losses:
        raise NotAsked("it trains nothing")
    if [progress.loss for progress in at.first.reported] != losses:
        raise Broken("context.report was not told every step's loss, in order")


def _survives_the_disk(at: Rehearsal) -> None:
    if differences := _differences(at.first.edit, at.reloaded, _EDIT_FIELDS):
        raise Broken(f"saved and loaded, it has other {differences}")
    if not torch.equal(at.draw(at.reloaded), at.draw(at.first.edit)):
        raise Broken("saved and loaded, it draws another picture")


def _changes_the_picture(at: Rehearsal) -> None:
    picture = at.draw(at.first.edit)
    if not picture.isfinite().all():
        raise Broken("the edited model's picture is not finite")
    if torch.equal(picture, at.draw(None)):
        raise Broken("the picture of the concept is the same as without the edit")
    if changed := at.left_changed():
        raise Broken(f"drawing with the edit left behind in the model: {changed}")


def _erases_several(at: Rehearsal) -> None:
    if not at.card.many_concepts:
        raise NotAsked("its card says one concept at a time")
    names = tuple(concept.name for concept in at.trial.concepts)
    if (edit := at.run(at.trial.concepts).edit).concepts != names:
        raise Broken(f"the edit says that it erases {edit.concepts}, and not {names}")


def _refuses_mistakes(at: Rehearsal) -> None:
    def erase_nothing() -> None:
        at.run(())

    def set_the_unknown() -> None:
        build_method(at.trial.method, at.trial.preset, {NO_SUCH_SETTING: "1"})

    for what, make in {"no concept": erase_nothing, "an unknown setting": set_the_unknown}.items():
        try:
            make()
        except BenchError as refused:
            if "\n" in str(refused).strip():
                raise Broken(f"{what}: the error is longer than one line") from refused
        except Exception as error:
            raise Broken(
                f"{what}: raises {type(error).__name__} and not a BenchError (methods.edit.check_concepts)"
            ) from error
        else:
            raise Broken(f"{what} is accepted")


CHECKS: dict[str, Callable[[Rehearsal], None]] = {
    "runs": _runs,
    "restores the base bit by bit": _restores_the_base,
    "leaves the global random state alone": _leaves_global_random_state,
    "finite, on the CPU": _is_finite,
    "reports its cost": _reports_cost,
    "reports every step": _reports_progress,
    "same seed, same edit": _is_deterministic,
    "other seed, other edit": _seed_matters,
    "goes on after an interruption": _goes_on_after_an_interruption,
    "survives the disk": _survives_the_disk,
    "changes the picture of the concept": _changes_the_picture,
    "erases several concepts": _erases_several,
    "refuses mistakes in one line": _refuses_mistakes,
}
"""Every promise by name, in the order in which they are tried."""

_HOLD_TENSORS = ("tensors", "attachments")
_EDIT_FIELDS = tuple(field.name for field in dataclasses.fields(Edit) if field.name not in _HOLD_TENSORS)
_DETERMINED_FIELDS = ("losses", "guidance", "settings")


def _differences(edit: Edit, other: Edit, fields: Sequence[str] = _DETERMINED_FIELDS) -> str:
    """What differs between two edits: tensors, attachments and these fields; empty where nothing does."""
    found = [name for name in fields if getattr(edit, name) != getattr(other, name)]
    if not same(edit.attachments, other.attachments):
        found.append("attachments")
    if edit.tensors.keys() != other.tensors.keys():
        found.append("names of tensors")
    found += [
        name
        for name, tensor in edit.tensors.items()
        if name in other.tensors and not _same_bits(tensor, other.tensors[name])
    ]
    return some(found)


def _same_bits(tensor: Tensor, other: Tensor) -> bool:
    try:
        return not changed_tensors({"it": tensor}, {"it": other})
    except ValueError:  # another shape or dtype
        return False


def _file(method: Method) -> str | None:
    """Where the method's class is written."""
    return getattr(sys.modules.get(type(method).__module__), "__file__", None)
