"""The base model that a worker works on: read once, one edit in it at most, proven to be left as it was."""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from erasure_bench.bench.planning.devices import pick_device
from erasure_bench.bench.planning.tasks import EraseTask
from erasure_bench.bench.running.libraries import full_precision, quiet_libraries
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError
from erasure_bench.foreign.meaning import PACKAGE
from erasure_bench.foreign.process import LeftBehind

if TYPE_CHECKING:
    from erasure_bench.methods.machinery.traces import ModelState
    from erasure_bench.models.guidance import Guidance
    from erasure_bench.models.image_model import ImageModel


class Source(Protocol):
    """Where the base model's weights lie (`models.zoo.ModelSource`)."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path: ...

    @property
    def preset(self) -> str | None: ...

    @property
    def digest(self) -> str: ...


class BaseModels:
    """The base models of a plan, one in memory at a time.

    At most one edit is in it: `use` puts it there, `close` takes it out again.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        store: Store,
        device: str,
        dtype: str,
        forgotten: Callable[[], None],
    ) -> None:
        """`forgotten` is called whenever a model that was in memory is not to be used any more."""
        self._sources = {source.digest: source for source in sources}
        self._store, self._forgotten = store, forgotten
        self.asked_device, self.dtype = device, dtype
        self._loaded: ImageModel | None = None
        self._pristine: ModelState | None = None
        self._with_edit: ModelState | None = None
        self._unedited: ImageModel | None = None
        self._in_use: str | None = None
        self._guidance: Guidance | None = None
        self._edit_stack = ExitStack()

    @cached_property
    def device(self) -> str:
        """The device that work runs on: the one asked for, or with `auto` a GPU where there is one."""
        full_precision()
        return pick_device(self.asked_device)

    def model(self, digest: str) -> "ImageModel":
        """The base model with these weights; one is in memory at a time.

        Raises BenchError where the weights are not those that were planned for.
        """
        if self._loaded is None or self._loaded.digest != digest:
            self.forget()
            self._loaded = self._load(self._sources[digest])
            self._pristine = state_of(self._loaded)
        return self._loaded

    def ready(self, digest: str, aside: Callable[[float], None]) -> "ImageModel":
        """`model`; `aside` is told how long it took to load: that is no part of the task."""
        started = time.perf_counter()
        model = self.model(digest)
        aside(time.perf_counter() - started)
        return model

    def source(self, digest: str) -> Source:
        """Where these weights lie."""
        return self._sources[digest]

    def unedited(self, digest: str, beside: str) -> "ImageModel":
        """A copy of a base model with its own weights, while `beside` is the one that is worked on."""
        if self._unedited is None or self._unedited.digest != digest:
            self.close()
            unedited = self.model(digest).frozen_copy()
            self.model(beside)  # which forgets the copy, where it is another one
            self._unedited = unedited
        return self._unedited

    def use(self, task: EraseTask) -> "Guidance":
        """Puts the task's edit into its base model; the guidance to draw with."""
        from erasure_bench.methods.edit import Edit, applied

        if self._in_use != task.id or self._guidance is None:
            self.close()
            edit: Edit = Edit.load(self._store.entry(task.kind, task.id).checked())
            self._guidance = self._edit_stack.enter_context(applied(self.model(task.base), edit))
            self._in_use = task.id
            acting = (self._guidance, *edit.attachments)
            if not all(type(one).__module__.startswith(f"{PACKAGE}.") for one in acting):
                self._with_edit = state_of(self.model(task.base))
        return self._guidance

    def close(self) -> None:
        """Puts the base model's own weights back."""
        self._in_use, self._guidance, self._with_edit = None, None, None
        self._edit_stack.close()

    def forget(self) -> None:
        """Has the base model loaded anew: after a failure nobody knows what state it is in."""
        self.close()
        if self._pristine is not None:
            self._pristine.put_back()  # a patched class would serve the next model, too
        self._forgotten()
        self._loaded = self._pristine = self._unedited = None

    def prove_untouched(self, task: EraseTask) -> None:
        """Raises LeftBehind where the base model is not what it was when it was loaded."""
        if self._pristine is not None:
            self._prove_same(self._pristine, task.base, f"{task.method}'s erase")

    def prove_edit_untouched(self, task: EraseTask) -> None:
        """Raises LeftBehind where drawing has changed the model with the edit; of someone's code alone."""
        if self._with_edit is not None:
            self._prove_same(self._with_edit, task.base, f"{task.method}'s guidance")

    def _prove_same(self, state: "ModelState", base: str, whose: str) -> None:
        if left := state.changes(self.model(base)):
            raise LeftBehind(f"{whose} left the model changed: {left}; it is loaded anew")

    def _load(self, source: Source) -> "ImageModel":
        import torch

        from erasure_bench.models.layouts import layout_of

        quiet_libraries()
        model = layout_of(source.path).load(
            source.path,
            name=source.name,
            device=self.device,
            dtype=getattr(torch, self.dtype),
            preset=source.preset,
        )
        if model.digest != source.digest:
            raise BenchError(f"{source.path}: the weights changed while the run was starting; run again")
        return model


def state_of(model: "ImageModel") -> "ModelState":
    """What a model has to be again when someone's code is done with it.

    Raises LeftBehind where a user's file patched the model's classes before any state was taken.
    """
    from erasure_bench.methods.machinery.traces import ModelState, patches

    if patched := patches(model):
        raise LeftBehind(f"a user's file patched {patched} when it was imported: every row would have it")
    return ModelState.of(model)
