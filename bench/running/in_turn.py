"""Requests that come one after another: each erases from what the one before has left."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from erasure_bench.bench.planning.tasks import EraseTask
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError

if TYPE_CHECKING:
    from erasure_bench.methods.edit import Edit
    from erasure_bench.models.image_model import ImageModel


@contextmanager
def on_top_of(task: EraseTask, model: "ImageModel", store: Store) -> "Iterator[Edit | None]":
    """The model as the earlier requests have left it, and their edit; the base model where there are none.

    Raises BenchError where an edit acts beside the weights: nobody knows what another would make of it.
    """
    from erasure_bench.methods.edit import Edit, applied

    if task.after is None:
        yield None
        return
    earlier: Edit = Edit.load(store.entry(task.after.kind, task.after.id).checked())
    if earlier.attachments:
        raise BenchError(
            f"{task.method} leaves something in the network beside its weights: no other request can follow "
            "it (--concepts: erase them together, a+b, or one by one)"
        )
    with applied(model, earlier):
        yield earlier


def following(earlier: "Edit", edit: "Edit") -> "Edit":
    """Both edits as one of the base model: where both change a weight, the later one has the last word.

    It cost the seconds and steps of both, and the memory of the one that took more. Raises
    BenchError where both act in guidance.
    """
    if earlier.guidance is not None and edit.guidance is not None:
        raise BenchError(
            f"{edit.method} acts in guidance, which holds one request at a time "
            "(--concepts: erase them together, a+b, or one by one)"
        )
    return dataclasses.replace(
        edit,
        concepts=(*earlier.concepts, *edit.concepts),
        tensors={**earlier.tensors, **edit.tensors},
        guidance=edit.guidance or earlier.guidance,
        cost=dataclasses.replace(
            edit.cost,
            seconds=edit.cost.seconds + earlier.cost.seconds,
            peak_memory_bytes=max(edit.cost.peak_memory_bytes, earlier.cost.peak_memory_bytes),
            steps=edit.cost.steps + earlier.cost.steps,
        ),
    )
