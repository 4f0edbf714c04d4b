"""What an edit puts into the network beside changed weights, and how that is written down.

Adapters that stay, gates by prompt, changed attention values, changed text embeddings: each kind is an
`Attachment`, known by a name in the table here.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, cast, get_type_hints

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.foreign.files import defined_in, imported_files
from erasure_bench.foreign.installed import offered
from erasure_bench.foreign.targets import load_target
from erasure_bench.later import CAME_LATER

ATTACHMENTS: dict[str, str] = {
    "adapters": "erasure_bench.methods.machinery.adapters:Adapters",
    "token-projection": "erasure_bench.methods.safree:TokenProjection",
    "value-projection": "erasure_bench.methods.adavd:ValueProjection",
}
"""Kinds of attachment that a saved edit may hold."""

ATTACHMENT_ENTRY_POINTS = "erasure_bench.attachments"
TENSORS = "tensors"


class Attachment(Protocol):
    """A frozen dataclass: plain values, saved as JSON, and one field `tensors`, on the CPU.

    `attached` works by hooks alone, which are gone when its block is left, and what they compute for a
    picture depends on nothing else in the batch. They must let gradients through: attacks look for prompts
    that bring a concept back. What the call is about, they read with `models.asking.asked`.
    """

    @property
    def tensors(self) -> Mapping[str, Tensor]: ...

    def attached(self, model: Any) -> AbstractContextManager[None]:
        """The attachment at work in the model; raises BenchError where it does not fit."""
        ...

    def as_weights(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """New values of those of `weights`, a whole model's, that do the same without the attachment.

        Raises BenchError with the reason where no weights can.
        """
        ...


class SavedAttachment(BaseModel):
    """An attachment in JSON: its kind, its plain values and the names of its tensors."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    settings: dict[str, Any]
    tensors: list[str]


def attachments() -> dict[str, str]:
    """Our kinds, those of installed packages and those of the files that methods lie in."""
    return _in_files() | offered(ATTACHMENT_ENTRY_POINTS) | ATTACHMENTS


def _in_files() -> dict[str, str]:
    """The kinds that imported files of users define, each by its own target."""
    targets = [
        f"{module.__name__}:{name}"
        for module in imported_files()
        for name, found in vars(module).items()
        if defined_in(module, found) and callable(getattr(found, "attached", None))
    ]
    return {target: target for target in targets}


class Described(NamedTuple):
    """An attachment taken apart: what goes into the JSON, and its tensors."""

    saved: SavedAttachment
    tensors: Mapping[str, Tensor]


def describe(attachment: Attachment) -> Described:
    """What is written down of it; raises BenchError for a kind that the table does not have."""
    kind = type(attachment)
    target = f"{kind.__module__}:{kind.__qualname__}"
    known = attachments()
    name = next((name for name, its_target in known.items() if its_target == target), None)
    if name is None:
        raise BenchError(
            f"attachment {target} cannot be saved: it is not in the table of kinds ({', '.join(known)})"
        )
    saved = SavedAttachment(kind=name, settings=_settings(attachment), tensors=sorted(attachment.tensors))
    return Described(saved, attachment.tensors)


def build(saved: SavedAttachment, tensors: Mapping[str, Tensor]) -> Attachment:
    """The attachment that `describe` took apart; raises BenchError where something of it is wrong."""
    known = attachments()
    if saved.kind not in known:
        raise UnknownName("attachment", saved.kind, known)
    what = f"attachment {saved.kind!r}"
    kind = load_target(known[saved.kind], what)
    types = get_type_hints(kind, include_extras=True)
    own = [field for field in dataclasses.fields(kind) if field.name != TENSORS]
    needed = {field.name for field in own if not _came_later(field)}
    if stray := saved.settings.keys() - {field.name for field in own}:
        raise BenchError(f"{what}: this version does not know its settings: {', '.join(sorted(stray))}")
    if lacking := needed - saved.settings.keys():
        raise BenchError(f"{what} lacks its settings: {', '.join(sorted(lacking))}")
    values = {}
    for name, value in saved.settings.items():
        try:
            values[name] = TypeAdapter(types[name]).validate_python(value)
        except ValidationError as error:
            raise BenchError(f"{what}: {name}: {error.errors()[0]['msg']}") from error
    if missing := [name for name in saved.tensors if name not in tensors]:
        raise BenchError(f"{what} lacks its tensor {missing[0]}")
    # Copies, as those in a file that is taken away would go with it.
    return cast(Attachment, kind(**values, tensors={name: tensors[name].clone() for name in saved.tensors}))


def _came_later(field: dataclasses.Field[Any]) -> bool:
    return CAME_LATER.items() <= field.metadata.items()


def same(one: Sequence[Attachment], other: Sequence[Attachment]) -> bool:
    """Whether they are of the same kinds, with the same settings and bits."""
    return len(one) == len(other) and all(
        type(left) is type(right)
        and _settings(left) == _settings(right)
        and left.tensors.keys() == right.tensors.keys()
        and all(
            tensor.dtype == right.tensors[name].dtype and torch.equal(tensor, right.tensors[name])
            for name, tensor in left.tensors.items()
        )
        for left, right in zip(one, other, strict=True)
    )


def _settings(attachment: Attachment) -> dict[str, Any]:
    """All but the tensors, and but those that came later and have their default: as they were written."""
    values = {
        field.name: getattr(attachment, field.name)
        for field in dataclasses.fields(cast(Any, attachment))
        if field.name != TENSORS
        and not (_came_later(field) and getattr(attachment, field.name) == field.default)
    }
    return cast(dict[str, Any], json.loads(json.dumps(values, default=dataclasses.asdict)))
