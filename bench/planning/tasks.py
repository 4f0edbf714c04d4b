"""The kinds of work: erase a concept, draw pictures, score them, or take the features that statistics are of.

A task's id is the hash of what determines its result and of nothing else: never the batch size,
the device, the worker or the order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from erasure_bench.bench.identity.ids import Around, content_id, once, spelt_around
from erasure_bench.bench.storage.store import FORMAT
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Role, SchedulerName

TaskKind = Literal["erase", "generate", "score", "features"]
DOING: dict[TaskKind, str] = {
    "erase": "erasing",
    "generate": "drawing",
    "score": "scoring",
    "features": "embedding",
}
"""What doing a task is called where people read it."""


@dataclass(frozen=True, kw_only=True)
class EraseTask:
    """One edit of one base model.

    `method` is the name it was first asked for under. `code` is the version of a registered method,
    or the digest of the code of any other. `settings_class` is the class's name wherever it lies.
    `defaults` are the class's own: a setting that has its default is no part of the id, so that a
    new one does not make every edit another. `concepts` is empty and `seed` None for a method whose
    edit does not depend on them. `general_prompts` is the digest of those that the method is given,
    None where it asks for none.
    """

    kind: ClassVar[TaskKind] = "erase"

    method: str
    settings_class: str
    settings: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    code: str
    base: str
    concepts: tuple[Concept, ...]
    seed: int | None
    dtype: str
    general_prompts: str | None = None
    after: "EraseTask | None" = None

    @property
    def earlier(self) -> tuple["EraseTask", ...]:
        """The requests that come before it, the first one first."""
        return () if self.after is None else (*self.after.earlier, self.after)

    @cached_property
    def id(self) -> str:
        """Hash of the method's settings and code, the base weights, the concepts, the seed and the dtype."""
        return content_id(
            {
                "kind": self.kind,
                "format": FORMAT,
                "settings_class": self.settings_class,
                "settings": once(apart_from, self.defaults, self.settings),
                "code": self.code,
                "base": self.base,
                "concepts": self.concepts,
                "seed": self.seed,
                "dtype": self.dtype,
                "general_prompts": self.general_prompts,
                **({"after": self.after.id} if self.after else {}),
            }
        )

    @property
    def learns_from(self) -> str:
        """Names the model that a method learns from: the base, or what the request before has left."""
        return self.base if self.after is None else self.after.id

    @cached_property
    def whatever_seed(self) -> str:
        """The same hash without the seed, here and in the requests before."""
        return self._without_seed().id

    def _without_seed(self) -> "EraseTask":
        return replace(self, seed=None, after=self.after and self.after._without_seed())


def apart_from(defaults: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are not what the defaults say."""
    return {key: value for key, value in settings.items() if key not in defaults or defaults[key] != value}


@dataclass(frozen=True, kw_only=True)
class PlannedImage:
    """One picture to draw: sizes in pixels, the seed of its own noise generator."""

    prompt: Prompt
    image_index: int
    seed: int
    guidance_scale: float
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class PlannedImages:
    """Pictures of one role that are drawn together; shared by every method that draws the same."""

    role: Role
    images: tuple[PlannedImage, ...]

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def drawn(self) -> str:
        """Hash of what the sampler is given; a prompt's name is no part of it."""
        return content_id(
            [
                (image.prompt.text, image.seed, image.guidance_scale, image.height, image.width)
                for image in self.images
            ]
        )

    @cached_property
    def asked(self) -> str:
        """Hash of what an evaluator is told of the pictures: the prompts, whole, and the image indices."""
        return content_id([(image.prompt, image.image_index) for image in self.images])


@dataclass(frozen=True, kw_only=True)
class PlannedAttack:
    """What looks for pictures of `concept` in an edited model, several tries for each prompt.

    `shown` draws those of the base model's pictures that it is shown: of each prompt its first. `defaults`,
    `code` and `general_prompts` are as in `EraseTask`.
    """

    name: str
    settings_class: str
    settings: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    code: str
    concept: Concept
    seed: int
    shown: tuple["GenerateTask", ...]
    general_prompts: str | None = None

    @property
    def base(self) -> str:
        """The digest of the run's base model, whose pictures it is shown: not of a row's that is another."""
        return self.shown[0].erase.base

    @cached_property
    def id(self) -> str:
        """Hash of all that decides what it finds in a given edit, its name in tables left out."""
        return content_id(
            {
                "settings_class": self.settings_class,
                "settings": apart_from(self.defaults, self.settings),
                "code": self.code,
                "concept": self.concept,
                "seed": self.seed,
                "shown": [task.id for task in self.shown],
                "general_prompts": self.general_prompts,
            }
        )


@dataclass(frozen=True, kw_only=True)
class GenerateTask:
    """Pictures drawn with one edit; with an `attack` its tries, which `image_index` counts."""

    kind: ClassVar[TaskKind] = "generate"

    erase: EraseTask
    images: PlannedImages
    scheduler: SchedulerName
    steps: int
    eta: float
    code: str
    attack: PlannedAttack | None = None

    @cached_property
    def id(self) -> str:
        """Hash of the edit and of all that the sampler is given."""
        sampled: Around = once(
            _sampled, self.images, self.scheduler, self.steps, self.eta, self.code, self.attack
        )
        return sampled.id_with(self.erase.id)

    def file_name(self, index: int) -> str:
        """The file of picture number `index` in this task's entry."""
        return f"{index:03d}.png"


@dataclass(frozen=True, kw_only=True)
class ScoreTask:
    """One evaluator's scores of one generate task's pictures.

    `protocol` names every setting that can change a score; device and batch size are no part of it.
    `base` draws those of the base model's pictures that the evaluator compares with, none for most.
    """

    kind: ClassVar[TaskKind] = "score"

    generate: GenerateTask
    concept: Concept
    evaluator: str
    protocol: Mapping[str, Any]
    code: str
    base: tuple[GenerateTask, ...] = ()

    @cached_property
    def id(self) -> str:
        """Hash of the pictures, the concept, the prompts, and the evaluator's protocol and code.

        And of the base model's pictures, with their prompts, where the evaluator compares with them.
        """
        images = self.generate.images
        asked: Around = once(
            _asked, images, self.concept, self.evaluator, self.protocol, self.code, self.base
        )
        return asked.id_with(self.generate.id)


@dataclass(frozen=True, kw_only=True)
class FolderPictures:
    """Pictures in files of the user's: their paths, and the sha256 of what is in them."""

    files: tuple[Path, ...]
    digests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def id(self) -> str:
        """Hash of what is in the files, wherever they lie."""
        return content_id(["files", *self.digests])


@dataclass(frozen=True, kw_only=True)
class FeatureTask:
    """Features of one generate task's pictures, or of a folder's, for statistics of whole sets.

    `evaluator` is one of those that ask for them; `protocol` and `code` are its extractor's.
    """

    kind: ClassVar[TaskKind] = "features"

    pictures: GenerateTask | FolderPictures
    evaluator: str
    protocol: Mapping[str, Any]
    code: str

    @cached_property
    def id(self) -> str:
        """Hash of the pictures and the extractor, the same for every evaluator that has it."""
        return content_id(
            {
                "kind": self.kind,
                "format": FORMAT,
                "pictures": self.pictures.id,
                "protocol": self.protocol,
                "code": self.code,
            }
        )

    def __len__(self) -> int:
        return len(self.pictures.images if isinstance(self.pictures, GenerateTask) else self.pictures)


def _sampled(
    images: PlannedImages,
    scheduler: str,
    steps: int,
    eta: float,
    code: str,
    attack: PlannedAttack | None,
) -> Around:
    """All that the sampler is given, about the edit's id."""
    return spelt_around(
        "erase",
        {
            "kind": GenerateTask.kind,
            "format": FORMAT,
            "scheduler": scheduler,
            "steps": steps,
            "eta": eta,
            "code": code,
            "images": images.drawn,
            **({"attack": attack.id} if attack else {}),
        },
    )


def _asked(
    images: PlannedImages,
    concept: Concept,
    evaluator: str,
    protocol: Mapping[str, Any],
    code: str,
    base: tuple[GenerateTask, ...],
) -> Around:
    """What an evaluator is told and shown besides the pictures, about the id of their task."""
    return spelt_around(
        "generate",
        {
            "kind": ScoreTask.kind,
            "format": FORMAT,
            "concept": concept,
            "prompts": images.asked,
            "evaluator": evaluator,
            "protocol": protocol,
            "code": code,
            **({"base": once(_with_prompts, base)} if base else {}),
        },
    )


def _with_prompts(tasks: tuple[GenerateTask, ...]) -> list[tuple[str, str]]:
    return [(task.id, task.images.asked) for task in tasks]


Task = EraseTask | GenerateTask | ScoreTask | FeatureTask


def pictures_of(task: Task) -> GenerateTask | None:
    """The pictures that a task draws or looks at; None where it has none, or only a user's."""
    if isinstance(task, ScoreTask):
        return task.generate
    found = task.pictures if isinstance(task, FeatureTask) else task
    return found if isinstance(found, GenerateTask) else None


def needed_by(task: Task) -> tuple[EraseTask | GenerateTask, ...]:
    """The tasks that must be done before this one, in an order in which they can be done."""
    if isinstance(task, EraseTask):
        return task.earlier
    if isinstance(task, GenerateTask):
        shown = task.attack.shown if task.attack else ()
        own = (*task.erase.earlier, task.erase)
        return _each_once((*(each for drawn in shown for each in (drawn.erase, drawn)), *own))
    if isinstance(task, FeatureTask):
        drawn = pictures_of(task)
        return () if drawn is None else (*needed_by(drawn), drawn)
    pictures = (*task.base, task.generate)
    return _each_once(each for drawn in pictures for each in (*needed_by(drawn), drawn))


def _each_once(tasks: Iterable[EraseTask | GenerateTask]) -> tuple[EraseTask | GenerateTask, ...]:
    return tuple({task.id: task for task in tasks}.values())
