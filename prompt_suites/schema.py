"""What may stand in a suite's YAML file: pydantic's models of it, and errors that name file, line and key."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.concepts import Concept, ConceptKind
from erasure_bench.prompt_suites.fetch import UpstreamFile
from erasure_bench.prompt_suites.hostile import trouble
from erasure_bench.prompt_suites.screen import WEAK_ROWS
from erasure_bench.prompt_suites.suite import Protocol, Role, SchedulerName, SuiteAttack
from erasure_bench.yaml_files import checked, key_of
from erasure_bench.yaml_marks import Marked, Place

FILL = "{}"
"""Stands for the concept's first target phrase in prompts, for its name in a concept of `each`."""

Column = Literal[
    "prompt",
    "id",
    "concept",
    "role",
    "subject",
    "label",
    "seed",
    "guidance_scale",
    "height",
    "width",
    "tags",
    "images_per_prompt",
]
COLUMNS: tuple[Column, ...] = get_args(Column)


def _plain(text: str) -> str:
    if why := trouble(text):
        raise ValueError(why)
    if not text.strip():
        raise ValueError("is empty")
    return text.strip()


def _prose(text: str) -> str:
    return " ".join(text.split())


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_list(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _concept_name(name: str) -> str:
    if bad := [character for character in ",+;{}" if character in name]:
        raise ValueError(f"{name!r}: a concept's name holds no {bad[0]!r}")
    return name


def _beside(name: str) -> str:
    if PurePosixPath(name).name != name or PureWindowsPath(name).name != name:
        raise ValueError(f"{name!r}: the name of a file beside this one, without a folder")
    return name


def _folder(name: str) -> str:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
        raise ValueError(f"{name!r}: a folder below another, without ..")
    return name


Plain = Annotated[str, AfterValidator(_plain)]
Prose = Annotated[str, AfterValidator(_prose), AfterValidator(_plain)]
Texts = Annotated[tuple[Plain, ...], BeforeValidator(_as_list)]
Folder = Annotated[Plain, AfterValidator(_folder)]
SuiteName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
EvaluatorName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*(@[A-Za-z0-9._-]+)?$")]
AttackName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*(:[A-Za-z0-9._-]+)?$")]
ConceptName = Annotated[Plain, AfterValidator(_concept_name)]
When = Mapping[str, Texts]
MOST_GUIDANCE = 1000.0
"""Far beyond what any model draws with; with more the pictures are not finite, as if weights were broken."""


class _Entry(BaseModel):
    """No key but those that are declared, and no value of another type than it says."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ProtocolEntry(_Entry):
    """The suite's protocol, under which every method draws."""

    scheduler: SchedulerName
    steps: int = Field(ge=1, le=1000)
    guidance_scale: float = Field(ge=0, le=MOST_GUIDANCE, allow_inf_nan=False)
    eta: float = Field(default=0.0, ge=0, le=1)
    height: int | None = Field(default=None, ge=8, le=4096)
    width: int | None = Field(default=None, ge=8, le=4096)
    images_per_prompt: int = Field(default=1, ge=1, le=10_000)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.protocol()
        return self

    def protocol(self) -> Protocol:
        """What the plan takes."""
        return Protocol(**self.model_dump())


class ConceptEntry(_Entry):
    """A concept by its `name`, or several that differ in their name alone: `each`, `{}` standing for it.

    `anchor_prompts_from` is a file of upstream's with its anchor prompts.
    """

    name: ConceptName | None = None
    each: tuple[ConceptName, ...] = ()
    kind: ConceptKind
    targets: Texts
    anchor: Plain
    surrogate: Plain | None = None
    neighbours: Texts = ()
    other_names: bool = False
    negative: Plain | None = None
    label: Plain | None = None
    anchor_label: Plain | None = None
    anchor_prompts: Texts = ()
    anchor_prompts_from: Plain | None = None
    additions: Texts = ()
    evoked_by: Texts = ()
    when: When = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_or_many(self) -> Self:
        if (self.name is None) == (not self.each):
            raise ValueError("needs a name, or each with a list of names")
        if self.other_names and (not self.each or self.neighbours):
            raise ValueError("other_names makes neighbours of the other names of each: leave neighbours out")
        if self.anchor_prompts_from is not None and self.anchor_prompts:
            raise ValueError("the anchor prompts are said twice: leave anchor_prompts out")
        self.concepts()
        return self

    def concepts(self) -> tuple[Concept, ...]:
        """The concepts, in the entry's order, less what files say. Raises ValueError where they are none."""
        given = self.model_dump(exclude={"name", "each", "when", "other_names", "anchor_prompts_from"})
        if self.name is not None:
            return (Concept(name=self.name, **given),)
        return tuple(self._named(name, given) for name in self.each)

    def _named(self, name: str, given: Mapping[str, Any]) -> Concept:
        # In additions {} stands for the prompt.
        filled: dict[str, Any] = {
            key: _filled(value, name) for key, value in given.items() if key != "additions"
        }
        if self.other_names:
            filled["neighbours"] = tuple(other for other in self.each if other != name)
        return Concept(name=name, additions=self.additions, **filled)


def _filled(value: Any, name: str) -> Any:
    if isinstance(value, tuple):
        return tuple(_filled(text, name) for text in value)
    return value.replace(FILL, name) if isinstance(value, str) else value


class Condition(_Entry):
    """Which rows of a source count, by the cell of a column.

    A number `above` another, a comma list that `has` a word (`{option}` stands for the option's value), or
    one of the texts of `is`.
    """

    above: float | None = None
    has: Plain | None = None
    is_: Texts = Field(default=(), alias="is")

    def holds(self, cell: str, options: Mapping[str, str]) -> bool:
        """Whether a row with this cell counts. Raises ValueError where it is no number and has to be one."""
        if self.above is not None and not float(cell) > self.above:
            return False
        word = self.has
        for option, value in options.items():
            word = word and word.replace(f"{{{option}}}", value)
        if word is not None and word not in (part.strip() for part in cell.split(",")):
            return False
        return not self.is_ or cell in self.is_


class PromptSource(_Entry):
    """Where prompts come from, and what they are: a file beside this one, one of upstream's, rows or texts.

    `columns` says which column of the file is what; without it they have their own names. What no column
    says holds for every row: `role`, `concept` (absent: every concept), `label`, `tags`. `others` is the role
    that the prompts of one concept have for the others, `images_of_others` how many pictures they have there.
    `fill` makes of each row one for every way to fill `{name}` in its prompt, subject, label and what
    `replace` puts in; the names are columns of the row. Of the things in `named` each row's prompt names one,
    which is its subject and its label. `id` starts the ids, the row's number follows; without it an id
    follows from role, prompt and seed.
    """

    file: Annotated[Plain, AfterValidator(_beside)] | None = None
    upstream: Texts = ()
    rows: tuple[Mapping[str, str | int | float], ...] = ()
    texts: Texts = ()
    fill: Mapping[str, Annotated[Texts, Field(min_length=1)]] = Field(default_factory=dict)
    columns: Mapping[Column, Texts] = Field(default_factory=dict)
    where: Mapping[str, Condition] = Field(default_factory=dict)
    when: When = Field(default_factory=dict)
    role: Role = "target"
    others: Role | None = None
    concept: ConceptName | None = None
    concept_named_in_prompt: bool = False
    subject: Plain | None = None
    label: Plain | None = None
    named: Texts = ()
    tags: Texts = ()
    template: Plain | None = None
    replace: Mapping[str, str] = Field(default_factory=dict)
    empty: Plain | None = None
    id: Plain | None = None
    images_per_prompt: int | None = Field(default=None, ge=1, le=10_000)
    images_of_others: int | None = Field(default=None, ge=1, le=10_000)
    expect: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _from_one_place(self) -> Self:
        places = [name for name in ("file", "upstream", "rows", "texts") if getattr(self, name)]
        if len(places) != 1:
            found = f"; got {' and '.join(places)}" if places else ""
            raise ValueError(f"needs one of file, upstream, rows, texts{found}")
        if self.images_of_others is not None and self.others is None:
            raise ValueError("images_of_others goes with others")
        if self.template is not None and FILL not in self.template:
            raise ValueError("template needs a {} for the prompt")
        if self.concept is not None and (self.concept_named_in_prompt or "concept" in self.columns):
            raise ValueError("the concept is said twice: leave concept out")
        given = [key for key in ("subject", "label") if getattr(self, key) or key in self.columns]
        if self.named and given:
            raise ValueError(f"the {given[0]} is said twice: named says it")
        return self


class FileEntry(_Entry):
    """A file of upstream: what it is pinned by, and another name under which a copy may lie."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=1)
    copy_: Plain | None = Field(default=None, alias="copy")


class Repository(_Entry):
    """Files at a commit of a public repository, all in its folder `under`, copies of them in `folder`."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    under: Folder = ""
    folder: Folder
    files: Mapping[Annotated[str, AfterValidator(_beside)], FileEntry] = Field(min_length=1)

    def upstream_files(self) -> dict[str, UpstreamFile]:
        """The files by their names."""
        return {
            name: UpstreamFile(
                repository=self.repository,
                commit=self.commit,
                path=f"{self.under}/{name}" if self.under else name,
                sha256=entry.sha256,
                size=entry.size,
                folder=self.folder,
                copy=entry.copy_,
            )
            for name, entry in self.files.items()
        }


class SuiteFile(_Entry):
    """A whole suite."""

    name: SuiteName
    version: Annotated[Plain, BeforeValidator(_number_as_text)]
    title: Plain
    description: Prose
    source: Prose
    licence: Prose
    model: Plain
    protocol: ProtocolEntry
    evaluators: Annotated[tuple[EvaluatorName, ...], BeforeValidator(_as_list), Field(min_length=1)]
    further_evaluators: Annotated[tuple[EvaluatorName, ...], BeforeValidator(_as_list)] = ()
    evaluator_options: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    attacks: Annotated[tuple[AttackName, ...], BeforeValidator(_as_list)] = ()
    attack_options: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    reference_resolution: int | None = Field(default=None, ge=8, le=4096)
    reported: bool = True
    options: Mapping[SuiteName, Annotated[Texts, Field(min_length=2)]] = Field(default_factory=dict)
    upstream: tuple[Repository, ...] = ()
    concepts: tuple[ConceptEntry, ...] = Field(min_length=1)
    prompts: tuple[PromptSource, ...] = Field(min_length=1)

    @property
    def files(self) -> dict[str, UpstreamFile]:
        """Every file of upstream by its name."""
        return {name: file for entry in self.upstream for name, file in entry.upstream_files().items()}

    def suite_attacks(self) -> tuple[SuiteAttack, ...]:
        """The attacks with their options."""
        return tuple(SuiteAttack(name, self.attack_options.get(_bare(name), {})) for name in self.attacks)


WORDS = {"title", "description", "source", "licence", "version", "reported", "further_evaluators"}
"""What a suite says to people, and who else may measure it: neither changes what is drawn and asked."""


def parsed(marked: Marked, where: str) -> SuiteFile:
    """The checked suite; raises BenchError with one line that names the file, the line and the key."""
    if not isinstance(marked.value, dict):
        raise BenchError(f"{where}:1: is no suite: keys such as name, concepts and prompts are missing")
    suite = checked(SuiteFile, marked, where)
    for place, why in _crossed(suite):
        raise BenchError(f"{where}:{marked.line(place)}: {key_of(place)}: {why}")
    return suite


def _crossed(suite: SuiteFile) -> Iterator[tuple[Place, str]]:
    """What is wrong between one part and another, each with its place."""
    if WEAK_ROWS in suite.options:
        yield ("options", WEAK_ROWS), "every suite about something unsafe has this option: leave it out"
    seen: dict[str, list[When]] = {}
    concepts: list[str] = []
    names: list[str] = [name for entry in suite.upstream for name in entry.files]
    for name, times in Counter(names).items():
        if times > 1:
            yield ("upstream",), f"two files are called {name}"
    for number, entry in enumerate(suite.concepts):
        yield from _crossed_when(suite, entry.when, ("concepts", number))
        anchors = entry.anchor_prompts_from
        if anchors is not None and anchors not in suite.files:
            yield ("concepts", number, "anchor_prompts_from"), _no_file(anchors, suite)
        for concept in entry.concepts():
            typed = re.sub(r"[ _]", "-", concept.name.lower())
            if not all(_apart(entry.when, other) for other in seen.get(typed, ())):
                yield ("concepts", number), f"{concept.name!r} is there twice (--concepts {typed})"
            seen.setdefault(typed, []).append(entry.when)
            concepts.append(concept.name)
    for number, source in enumerate(suite.prompts):
        yield from _crossed_when(suite, source.when, ("prompts", number))
        for name in source.upstream:
            if name not in suite.files:
                yield ("prompts", number, "upstream"), _no_file(name, suite)
        if source.concept is not None and source.concept not in concepts:
            yield (
                ("prompts", number, "concept"),
                f"no concept {source.concept!r}: valid: {', '.join(dict.fromkeys(concepts))}",
            )
    measured_by = *suite.evaluators, *suite.further_evaluators
    evaluators = dict.fromkeys(name.partition("@")[0] for name in measured_by)
    for name in suite.evaluator_options:
        if name not in evaluators:
            yield ("evaluator_options", name), f"valid, for all of its instances: {', '.join(evaluators)}"
    if twice := [name for name, times in Counter(measured_by).items() if times > 1]:
        further = twice[0] in suite.further_evaluators
        yield ("further_evaluators" if further else "evaluators",), f"{twice[0]} is there twice"
    attacked = tuple(map(_bare, suite.attacks))
    for name in suite.attack_options:
        if name not in attacked:
            yield ("attack_options", name), f"valid: {', '.join(attacked) or 'none, without attacks'}"


def _no_file(name: str, suite: SuiteFile) -> str:
    return f"no file {name!r} under upstream: valid: {', '.join(suite.files) or 'none'}"


def _apart(one: When, other: When) -> bool:
    """Whether the two never hold together: an option would have to have two values."""
    return any(not set(values) & set(other[option]) for option, values in one.items() if option in other)


def _bare(attack: str) -> str:
    """NAME of NAME:VALUE."""
    return attack.partition(":")[0]


def _crossed_when(suite: SuiteFile, when: When, place: Place) -> Iterator[tuple[Place, str]]:
    for option, values in when.items():
        if option not in suite.options:
            yield (*place, "when", option), f"no such option: valid: {', '.join(suite.options) or 'none'}"
        elif stray := [value for value in values if value not in suite.options[option]]:
            yield (*place, "when", option), f"not {stray[0]!r}: valid: {', '.join(suite.options[option])}"
