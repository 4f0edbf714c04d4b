"""The methods and evaluators of a run, with their settings, as the plan needs them.

Settings follow from a method's code, preset and options alone, so the store remembers them: a
run that finds everything finished does not import torch only to learn what it would have done.
"""

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from erasure_bench.bench.identity.code import code_of, code_of_part
from erasure_bench.bench.identity.ids import content_id, plain
from erasure_bench.bench.planning.config import OFFICIAL, Options
from erasure_bench.bench.planning.folders import data_pictures, folder_pictures
from erasure_bench.bench.planning.tasks import FolderPictures
from erasure_bench.bench.storage.memory import once
from erasure_bench.bench.words.showing import one_line
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.evaluators.base import ComparesWith, Evaluator, EvaluatorCard, Metric, compares_with
from erasure_bench.evaluators.instances import Instance, instance
from erasure_bench.evaluators.metrics import checked_metrics
from erasure_bench.evaluators.registry import EVALUATORS, OPTION_FLAG, build_evaluator, evaluator_card
from erasure_bench.evaluators.sets import DATA, is_of_files, is_set_evaluator, reference_of
from erasure_bench.foreign.errors import in_one_line
from erasure_bench.foreign.files import absolute, file_of, in_file
from erasure_bench.foreign.meaning import PACKAGE
from erasure_bench.foreign.sources import code_digest, digest_of_file
from erasure_bench.methods.registry import (
    METHODS,
    build_method,
    method_card,
    method_target,
    parse_settings,
    uses_seed,
)
from erasure_bench.models.image_families import FAMILIES, Family
from erasure_bench.models.zoo import ModelSource

if TYPE_CHECKING:
    from erasure_bench.methods.base import MethodCard

BASELINE = next(iter(METHODS))
"""The base model's own row: the first method of the registry."""

REGISTRY = "erasure_bench.methods.registry"


@dataclass(frozen=True, kw_only=True)
class ChosenMethod:
    """A method as one run uses it. `options` are the user's, as text; `settings` what came of them.

    `settings_class` is the registered name, or the name of the class of someone else's method;
    `defaults` are its own settings. `preset` is the one that was used: the official one where the card
    lacks the one that was asked for. `presets` are the names that its card offers; `many_concepts`,
    `general_prompts`, `training_data` and `families` are the card's, `uses_seed` is what the method says of
    these settings. `base` is set for another base model
    in the place of an edit of the run's own, `weights` for a user's checkpoint, `file` for a method
    of the user's: PATH.py:NAME, from any folder.
    """

    name: str
    preset: str
    options: Options
    settings_class: str
    settings: Mapping[str, Any]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    presets: tuple[str, ...]
    code: str
    many_concepts: bool = False
    general_prompts: bool = False
    training_data: bool = False
    uses_seed: bool = True
    families: tuple[Family, ...] = ("text-to-image",)
    base: ModelSource | None = None
    weights: Path | None = None
    file: str | None = None

    @property
    def registered(self) -> str:
        """What the registry knows the method by, which is not always the row's name."""
        return BASELINE if self.base else self.file or self.name

    @property
    def fixed(self) -> bool:
        """Whether the row is the same whatever the concept and the seed: nothing is erased for it here."""
        return self.is_baseline or self.base is not None or self.weights is not None

    @property
    def is_baseline(self) -> bool:
        """Whether this is the base model itself, which depends on no concept and no seed."""
        return self.name == BASELINE


@dataclass(frozen=True, kw_only=True)
class OfSets:
    """How an evaluator of sets takes features, and what it compares them with.

    `protocol` and `code` are its extractor's, `reference` as `evaluators.sets` has it, `folder` the pictures
    of a user's folder or of a data set, part by part; `labels` say which class a part is of, none for a
    user's folder.
    """

    protocol: Mapping[str, Any]
    code: str
    reference: str
    folder: tuple[FolderPictures, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """What the statistics compare with, for those who compare the statistics."""
        if not self.folder:
            return self.reference
        count, digest = sum(map(len, self.folder)), content_id([part.id for part in self.folder])
        where = self.reference if self.labels else "a folder"
        return f"{count} pictures of {where}, {digest[:12]}"


@dataclass(frozen=True, kw_only=True)
class ChosenEvaluator:
    """An evaluator as one run uses it; `protocol` decides which numbers can be compared with its own.

    `compares_with` says which of the base model's pictures it is shown, if any.
    `file` is set for one of the user's: PATH.py:NAME, from any folder. `label` is an instance's, which is
    the end of its name as well: NAME@LABEL. `of_sets` is set where it gives statistics of whole sets.
    """

    name: str
    preset: str | None
    settings: Mapping[str, Any]
    options: Options
    protocol: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    code: str
    compares_with: ComparesWith | None = None
    file: str | None = None
    label: str | None = None
    of_sets: OfSets | None = None

    @property
    def registered(self) -> str:
        """What the registry knows the evaluator by, which is not always its name in tables."""
        return Instance(self.file, self.label).labelled(self.file) if self.file else self.name


def choose_method(name: str, preset: str, options: Options, memory: Path) -> ChosenMethod:
    """The method with its settings resolved; `memory` is the folder that remembers them.

    Raises UnknownName for a name that is in no table, BenchError for an option that does not fit or
    a file that has no such method.
    """
    target = method_target(name)
    digest, code = _code_of(name, target)
    asked = {"target": target, "preset": preset, "options": options, "code": digest}
    # The registry parses the options, so its code counts for the settings, though not for the edit.
    note = memory / f"{content_id({**asked, 'registry': code_digest(REGISTRY)})}.json"

    def resolve() -> dict[str, Any]:
        method, card = build_method(name, preset, options), method_card(name)
        return {
            "settings_class": name if name in METHODS else type(method).__qualname__,
            "settings": plain_settings(name, method),
            "defaults": default_settings(type(method)),
            "presets": list(card.presets),
            "many_concepts": card.many_concepts,
            "general_prompts": card.general_prompts,
            "training_data": card.training_data,
            "uses_seed": uses_seed(name, method),
            "families": list(card.families),
        }

    remembered = once(note, resolve, _REMEMBERED)
    return ChosenMethod(
        name=row_name(name),
        preset=preset if preset in remembered["presets"] else OFFICIAL,
        options=dict(options),
        settings_class=remembered["settings_class"],
        settings=remembered["settings"],
        defaults=remembered["defaults"],
        presets=tuple(remembered["presets"]),
        code=code,
        many_concepts=remembered["many_concepts"],
        general_prompts=remembered["general_prompts"],
        training_data=remembered["training_data"],
        uses_seed=remembered["uses_seed"],
        families=tuple(remembered["families"]),
        file=absolute(name) if in_file(name) else None,
    )


def row_name(method: str) -> str:
    """What a method is called in tables and before the dot of an option: a file's, by its class or card.

    Raises BenchError where a file's method has a name of the registry.
    """
    return _name_in_tables(method, "method", method_card, METHODS)


def reference(source: ModelSource, memory: Path) -> ChosenMethod:
    """Another base model as a row of its own, under that model's name."""
    nothing = choose_method(BASELINE, OFFICIAL, {}, memory)
    return dataclasses.replace(nothing, name=one_line(source.name), base=source)


def user_weights(name: str, path: Path, options: Options) -> ChosenMethod:
    """A user's checkpoint as a row called `name`. Raises BenchError where it or an option is no good."""
    from erasure_bench.methods.machinery.user_weights import ReadingOptions, UserWeights
    from erasure_bench.models.checkpoints.files import checkpoint_digest

    reading = parse_settings(ReadingOptions, name, options)
    with retold(lambda message: f"--edit {name}={path}: {message}"):
        digest = checkpoint_digest(path)
    return ChosenMethod(
        name=name,
        preset=OFFICIAL,
        options=dict(options),
        settings_class=UserWeights.__qualname__,
        settings=plain(UserWeights(digest=digest, **reading)),
        presets=(),
        code=code_of_part("user-weights"),
        families=FAMILIES,
        weights=path,
    )


def missing_packages(name: str) -> tuple[str, ...]:
    """The modules that an evaluator needs and this installation lacks. Raises UnknownName."""
    with in_one_line(f"evaluator {name!r} cannot say which packages it needs"):
        return tuple(module for module in evaluator_card(name).requires if find_spec(module) is None)


def evaluator_name(evaluator: str) -> str:
    """The same for an evaluator; an instance keeps its label."""
    of = instance(evaluator)
    return of.labelled(_name_in_tables(of.name, "evaluator", evaluator_card, EVALUATORS))


def option_names(name: str) -> tuple[str, ...]:
    """The names of the options that an evaluator has."""
    settings = evaluator_card(name).build
    return tuple(each.name for each in fields(settings) if each.init) if is_dataclass(settings) else ()


def options_of(name: str, given: Mapping[str, Options]) -> dict[str, str]:
    """What an evaluator gets of `--evaluator-option`: all that names it, of the unnamed what it has."""
    takes = option_names(name)
    unnamed = {option: text for option, text in given.get("", {}).items() if option in takes}
    return {**unnamed, **given.get(evaluator_name(name), {})}


def check_unnamed(asked: Collection[str], given: Mapping[str, Options]) -> None:
    """Raises UnknownName for an option without a name that none of the evaluators `asked` for has."""
    taken = {option for name in asked for option in option_names(name)}
    for option in given.get("", {}):
        if not taken:
            raise BenchError(f"{OPTION_FLAG} {option}: {', '.join(asked)} has no options")
        if option not in taken:
            raise UnknownName(f"option of {', '.join(asked)}", option, taken, OPTION_FLAG)


def _name_in_tables(
    written: str,
    noun: str,
    card_of: "Callable[[str], MethodCard | EvaluatorCard]",
    registered: Collection[str],
) -> str:
    if not in_file(written):
        return written
    name = card_of(written).name
    if name in registered:
        raise BenchError(f"{written}: the name {name!r} is taken by a registered {noun}; give it another")
    return name


def choose_evaluator(
    name: str,
    preset: str | None,
    options: Options,
    settings: Mapping[str, object],
    data_dir: Path | None = None,
) -> ChosenEvaluator:
    """The evaluator with its metrics and protocol; loads no weights. Raises BenchError.

    `data_dir` is the user's folder of data sets, whose pictures it may compare with.
    """
    called = evaluator_name(name)
    what = f"evaluator {called!r}"
    with with_its_option(called):
        evaluator = build_evaluator(name, preset, options, settings)
    module = type(evaluator).__module__
    with with_its_option(called), in_one_line(f"{what} cannot say how it measures"):
        protocol = plain(evaluator.protocol())
        if not module.startswith(f"{PACKAGE}."):
            protocol |= _settings_beside(protocol, evaluator)
        metrics, compared = checked_metrics(evaluator, what), compares_with(evaluator)
        of_sets = _of_sets(evaluator, called, data_dir) if is_set_evaluator(evaluator) else None
        if of_sets is not None:
            protocol |= {"reference": of_sets.said, "features": of_sets.protocol}
    of = instance(name)
    in_a_file = in_file(of.name)
    return ChosenEvaluator(
        name=called,
        preset=preset,
        settings=dict(settings),
        options=dict(options),
        protocol=protocol,
        metrics=metrics,
        compares_with=compared,
        code=digest_of_file(file_of(of.name)) if in_a_file else code_of("evaluator", of.name, module),
        file=absolute(of.name) if in_a_file else None,
        label=of.label,
        of_sets=of_sets,
    )


@contextmanager
def retold(change: Callable[[str], str]) -> Iterator[None]:
    """An error stays what it is and says it in other words: as the user has asked for it."""
    try:
        yield
    except BenchError as error:
        error.args = tuple(change(str(word)) for word in error.args)
        raise


def with_its_option(name: str) -> AbstractContextManager[None]:
    """An error names the option that mends it as this evaluator alone takes it: NAME.KEY, NAME@LABEL.KEY."""
    return retold(lambda message: _named(message, name))


def _named(message: str, name: str) -> str:
    own = "|".join(re.escape(each) for each in (name, instance(name).name))
    bare_or_own = rf"({OPTION_FLAG} )(?:(?:{own})\.)?(?=[a-z]\w*(?!\w|[.@]\w))"
    return re.sub(bare_or_own, lambda found: f"{found[1]}{name}.", message)


def _of_sets(evaluator: Any, name: str, data_dir: Path | None) -> OfSets:
    """Raises BenchError where the reference is no folder of pictures and no data set."""
    reference = reference_of(evaluator)
    parts: tuple[FolderPictures, ...] = ()
    labels: tuple[str, ...] = ()
    if reference.startswith(DATA):
        parts, labels = data_pictures(reference.removeprefix(DATA), data_dir)
    elif is_of_files(reference):
        parts = folder_pictures(reference, f"--evaluator-option {name}.reference")
    return OfSets(
        protocol=plain(evaluator.extractor.protocol()),
        code=code_digest(type(evaluator.extractor).__module__),
        reference=reference,
        folder=parts,
        labels=labels,
    )


WITHOUT_BEARING = frozenset({"device", "batch_size"})
"""Settings that may change no score, whoever wrote the evaluator (docs/adding-an-evaluator.md)."""


def _settings_beside(protocol: Mapping[str, Any], evaluator: Any) -> dict[str, Any]:
    """The settings that a third party's protocol forgets: scores kept under others must not be served."""
    names = [field.name for field in dataclasses.fields(evaluator)]
    return {
        name: plain(getattr(evaluator, name))
        for name in names
        if name not in WITHOUT_BEARING and name not in protocol
    }


def _code_of(name: str, target: str) -> tuple[str, str]:
    """The digest of a method's code, and how an id names that code."""
    module = target.partition(":")[0]
    try:
        return code_digest(module), code_of("method", name, module)
    except (ModuleNotFoundError, SyntaxError) as error:  # an installed package's mistake
        raise BenchError(f"method {name!r} cannot be loaded from {target}: {error}") from error


def check_weights(chosen: ChosenEvaluator, evaluator: Evaluator) -> None:
    """Raises BenchError where an evaluator's files are no longer what the plan was made for.

    Only digests that both know are compared: what a hub brings, a machine may have or not have.
    """
    own: Any = evaluator
    says = plain(own.protocol())
    if chosen.of_sets is not None:
        says |= {"features": plain(own.extractor.protocol())}
    planned, now = dict(_digests(chosen.protocol)), dict(_digests(says))
    changed = [name for name in planned if now.get(name, planned[name]) != planned[name]]
    if changed:
        raise BenchError(
            f"evaluator {chosen.name!r}: {', '.join(changed)} is not what the run was planned with: a file "
            "was replaced meanwhile, or is another one on this machine; run again"
        )


def _digests(protocol: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, str]]:
    """The digests that a protocol names, at any depth, by their names."""
    for name, value in protocol.items():
        if isinstance(value, Mapping):
            yield from _digests(value, f"{inside}{name}.")
        elif name.endswith("sha256") and isinstance(value, str):
            yield f"{inside}{name}", value


def check_unchanged(chosen: ChosenMethod | ChosenEvaluator) -> None:
    """Raises BenchError where a user's file is no longer what the plan was made for."""
    if chosen.file and digest_of_file(file_of(chosen.file)) != chosen.code:
        raise BenchError(f"{chosen.file}: the code changed while the run was going on; run again")


def default_settings(build: type) -> dict[str, Any]:
    """What the fields of a settings class are where nothing is said of them, as JSON values."""
    defaults = {}
    for field in dataclasses.fields(build):
        made = field.default_factory
        default = field.default if made is dataclasses.MISSING else made()
        if field.init and default is not dataclasses.MISSING:
            with suppress(TypeError):  # what cannot be written never stands in settings either
                defaults[field.name] = plain(default)
    return defaults


def plain_settings(name: str, built: Any) -> dict[str, Any]:
    """A method's settings as JSON values. Raises BenchError where one is nothing of the kind."""
    try:
        return {field.name: plain(getattr(built, field.name)) for field in dataclasses.fields(built)}
    except TypeError as error:
        raise BenchError(f"{name}: settings must be plain values: {error}") from error


_REMEMBERED = frozenset(
    {
        "settings_class",
        "settings",
        "defaults",
        "presets",
        "many_concepts",
        "general_prompts",
        "training_data",
        "uses_seed",
        "families",
    }
)
