"""An edit: what a method made of a model, on disk and in use."""

import dataclasses
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, NonNegativeInt, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.foreign.targets import load_target
from erasure_bench.methods.machinery.attachments import Attachment, SavedAttachment, build, describe
from erasure_bench.methods.machinery.cost import Cost
from erasure_bench.methods.machinery.guidances import guidances
from erasure_bench.models.guidance import ClassifierFree, Guidance
from erasure_bench.models.image_model import ImageModel
from erasure_bench.models.weights import swapped
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.stand_ins import refuse_stand_in

EDIT_FILE = "edit.json"
WEIGHTS_FILE: Final = "weights.safetensors"
ATTACHMENTS_FILE: Final = "attachments.safetensors"
TensorsFile = Literal["weights.safetensors", "attachments.safetensors"]
PACKAGES = ("erasure-bench", "torch", "diffusers", "transformers", "safetensors")


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit:
    """What one method made for some concepts from one base model.

    `settings` are the method's, as JSON values. `tensors` are the full new values, on the CPU, of
    the weights that changed, by the names of `ImageModel.named_tensors`: of the UNet or of the text
    encoder. `attachments` stay in the network beside its weights. `guidance` is None where sampling stays
    as it was. `losses` is the training's loss at every step.
    """

    method: str
    settings: Mapping[str, Any]
    concepts: tuple[str, ...]
    base_digest: str
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    guidance: Guidance | None = None
    cost: Cost = Cost()
    losses: tuple[float, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_tensors(self) -> dict[str, Tensor]:
        """Those of the weights and those of the attachments, which are named "NUMBER.NAME"."""
        return {**self.tensors, **_tensors_of(self.attachments)}

    def save(self, folder: Path | str) -> None:
        """Writes the tensors, where there are any, and then `edit.json` into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        described = [describe(attachment).saved for attachment in self.attachments]
        content = _EditFile(
            format="erasure-bench edit 1",
            method=self.method,
            settings=dict(self.settings),
            concepts=self.concepts,
            base_digest=self.base_digest,
            weights=_write_tensors(folder, WEIGHTS_FILE, self.tensors),
            attachments=described,
            attached=_write_tensors(folder, ATTACHMENTS_FILE, _tensors_of(self.attachments)),
            guidance=None if self.guidance is None else _describe(self.guidance),
            cost=self.cost,
            losses=self.losses,
            versions=dict(self.versions),
        )
        (folder / EDIT_FILE).write_text(content.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """The edit saved in `folder`; raises BenchError where there is none or it is damaged."""
        folder = Path(folder)
        path = folder / EDIT_FILE
        try:
            content = _EditFile.model_validate_json(path.read_bytes())
        except OSError as error:
            raise BenchError(f"no edit in {folder}: {EDIT_FILE}: {error.strerror}") from error
        except ValidationError as error:
            raise BenchError(f"{path} is damaged or not an edit: {_first(error)}") from error
        return cls(
            method=content.method,
            settings=content.settings,
            concepts=content.concepts,
            base_digest=content.base_digest,
            tensors={} if content.weights is None else _read_tensors(folder, content.weights),
            attachments=_read_attachments(folder, content),
            guidance=None if content.guidance is None else _build(content.guidance, path),
            cost=content.cost,
            losses=content.losses,
            versions=content.versions,
        )


@contextmanager
def applied(model: ImageModel, edit: Edit) -> Iterator[Guidance]:
    """The model with the edit in it, and the guidance to sample with; restored on leaving.

    Raises BenchError where the edit was made from other weights than the model's.
    """
    if edit.base_digest != model.digest:
        raise BenchError(
            f"the edit of {', '.join(edit.concepts)} by {edit.method} was made from a base model with digest "
            f"{edit.base_digest[:12]}, but {model.name} has {model.digest[:12]} (--model)"
        )
    with ExitStack() as stack:
        try:
            stack.enter_context(swapped(model, edit.tensors))
        except ValueError as error:
            raise BenchError(f"the edit of {', '.join(edit.concepts)} does not fit: {error}") from error
        for attachment in edit.attachments:
            stack.enter_context(attachment.attached(model))
        yield edit.guidance or ClassifierFree()


def new_edit(
    method: str,
    settings: Any,
    model: ImageModel,
    concepts: Sequence[Concept],
    *,
    tensors: Mapping[str, Tensor] | None = None,
    attachments: Sequence[Attachment] = (),
    guidance: Guidance | None = None,
    cost: Cost | None = None,
    losses: Sequence[float] = (),
) -> Edit:
    """The edit that a method with the dataclass `settings` made of `model`, with versions filled in."""
    check_concepts(concepts)
    return Edit(
        method=method,
        settings=json.loads(json.dumps(dataclasses.asdict(settings))),
        concepts=tuple(concept.name for concept in concepts),
        base_digest=model.digest,
        tensors=tensors or {},
        attachments=tuple(attachments),
        guidance=guidance,
        cost=cost or Cost(),
        losses=tuple(losses),
        versions=_versions(),
    )


def check_concepts(concepts: Sequence[Concept]) -> None:
    """Raises BenchError where there is nothing to erase."""
    if not concepts:
        raise BenchError("no concept to erase (--concepts)")


def check_edit(edit: object, model: ImageModel, concepts: Sequence[Concept]) -> None:
    """Raises BenchError where this is not an edit of that model for those concepts."""
    if not isinstance(edit, Edit):
        given = "nothing" if edit is None else f"a {type(edit).__name__}"
        raise BenchError(f"erase gave {given} instead of an Edit (methods.edit.new_edit makes one)")
    names = tuple(concept.name for concept in concepts)
    if edit.concepts != names:
        raise BenchError(f"the edit says that it erases {edit.concepts}, and not {names}")
    if edit.base_digest != model.digest:
        raise BenchError("the edit's base_digest is not the model's digest")


class _Tensors(BaseModel):
    model_config = ConfigDict(extra="forbid")

    file: TensorsFile
    sha256: str
    tensors: NonNegativeInt


class _Guidance(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: str
    settings: dict[str, Any]


class _EditFile(BaseModel):
    """What `edit.json` holds."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["erasure-bench edit 1"]
    method: str
    settings: dict[str, Any]
    concepts: tuple[str, ...]
    base_digest: str
    weights: _Tensors | None
    attachments: list[SavedAttachment] = []
    attached: _Tensors | None = None
    guidance: _Guidance | None
    cost: Cost
    losses: tuple[float, ...]
    versions: dict[str, str]


def _describe(guidance: Guidance) -> _Guidance:
    kind = type(guidance)
    target = f"{kind.__module__}:{kind.__qualname__}"
    for name, known in guidances().items():
        if known == target:
            return _Guidance(kind=name, settings=dataclasses.asdict(cast(Any, guidance)))
    known_kinds = ", ".join(guidances())
    raise BenchError(f"guidance {target} cannot be saved: it is not in the table of kinds ({known_kinds})")


def _build(saved: _Guidance, path: Path) -> Guidance:
    known = guidances()
    if saved.kind not in known:
        raise BenchError(f"{path}: {UnknownName('guidance', saved.kind, known)}")
    kind = load_target(known[saved.kind], f"guidance {saved.kind!r}")
    try:
        guidance = TypeAdapter(kind).validate_python(saved.settings)
    except ValidationError as error:
        raise BenchError(f"{path}: guidance {saved.kind!r}: {_first(error)}") from error
    if json.loads(json.dumps(dataclasses.asdict(guidance))) != saved.settings:
        raise BenchError(f"{path}: guidance {saved.kind!r} has settings that this version does not know")
    return cast(Guidance, guidance)


def _tensors_of(attachments: Sequence[Attachment]) -> dict[str, Tensor]:
    return {
        f"{number}.{name}": tensor
        for number, attachment in enumerate(attachments)
        for name, tensor in attachment.tensors.items()
    }


def _write_tensors(folder: Path, file: TensorsFile, tensors: Mapping[str, Tensor]) -> _Tensors | None:
    if not tensors:
        return None
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / file)
    return _Tensors(file=file, sha256=_sha256(folder / file), tensors=len(tensors))


def _read_attachments(folder: Path, content: _EditFile) -> tuple[Attachment, ...]:
    tensors = {} if content.attached is None else _read_tensors(folder, content.attached)
    built = []
    for number, saved in enumerate(content.attachments):
        own = {name: tensors[f"{number}.{name}"] for name in saved.tensors if f"{number}.{name}" in tensors}
        try:
            built.append(build(saved, own))
        except BenchError as error:
            raise BenchError(f"{folder / EDIT_FILE}: {error}") from error
    return tuple(built)


def _read_tensors(folder: Path, weights: _Tensors) -> dict[str, Tensor]:
    path = folder / weights.file
    if path.is_file():
        refuse_stand_in(path)
    try:
        found = _sha256(path)
        tensors = load_file(path)
    except OSError as error:
        raise BenchError(
            f"the edit in {folder} lacks its weights: {weights.file}: {error.strerror}"
        ) from error
    except SafetensorError as error:
        raise BenchError(f"{path} is damaged: {error}") from error
    if found != weights.sha256 or len(tensors) != weights.tensors:
        raise BenchError(
            f"{path} is damaged: its SHA-256 is {found[:12]}…, {EDIT_FILE} says {weights.sha256[:12]}…"
        )
    return tensors


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else str(problem["msg"])


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
