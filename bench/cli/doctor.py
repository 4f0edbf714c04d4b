"""What is really ready here: packages that import, weights and data that are there, room to write.

Every section is held apart from the others, and nothing heavy is imported outside of one: whatever is
broken is a row, never the end of the examination.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from erasure_bench.bench.running.importing import import_problems
from erasure_bench.bench.running.versions import PACKAGES, hardware
from erasure_bench.environment import OFFLINE_VARIABLE, is_offline, offline
from erasure_bench.errors import BenchError
from erasure_bench.foreign.errors import in_one_line

Verdict = Literal["ok", "absent", "broken", "note"]
"""`absent` can be had and is told how; `broken` is what an installation must have and makes doctor fail."""

DISTRIBUTION = "erasure-bench"
LITTLE_ROOM_GIB = 5.0
_GIB = 2**30


class Finding(NamedTuple):
    """One line of the examination."""

    topic: str
    name: str
    verdict: Verdict
    detail: str


def examine(data_dir: Path | None = None, store: Path | None = None) -> list[Finding]:
    """Everything that decides what a run here can do. Asks no network; loads what evaluators need."""
    modules = required_modules()
    problems = import_problems(list(modules))
    asked_offline = is_offline()
    with offline("doctor asks no network"):
        return [
            *_held("packages", lambda: _packages(modules, problems)),
            *_held("machine", lambda: _machine(problems)),
            *_held("network", lambda: _network(asked_offline)),
            *_held("models", _models),
            *_held("methods", _methods),
            *_held("evaluators", lambda: _evaluators(problems)),
            *_held("suites", lambda: _suites(data_dir)),
            *_held("folders", lambda: _folders(store)),
        ]


def is_broken(findings: list[Finding]) -> bool:
    """Whether something is wrong that no download and no choice of the user's explains."""
    return any(finding.verdict == "broken" for finding in findings)


def to_json(findings: list[Finding]) -> list[dict[str, Any]]:
    """The findings as JSON's types."""
    return [finding._asdict() for finding in findings]


def _held(topic: str, section: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A section's rows; what it raises on the way is one more row."""
    try:
        with in_one_line(topic):
            yield from section()
    except BenchError as error:
        yield Finding(topic, "examination", "broken", str(error))


def required_modules() -> dict[str, str]:
    """What this installation says it depends on: the module to import, and its distribution.

    Without the metadata of an installation, the packages that results name.
    """
    try:
        wanted = [re.split(r"[\s;<>=!~\[(]", line)[0] for line in _requirements()]
    except metadata.PackageNotFoundError:
        wanted = list(PACKAGES)
    modules: dict[str, list[str]] = {}
    for module, distributions in metadata.packages_distributions().items():
        for distribution in distributions:
            modules.setdefault(_canonical(distribution), []).append(module)
    found = {}
    for name in wanted:
        own = modules.get(_canonical(name), [])
        # One that is not installed is tried under its own name, which then says so.
        likely = [module for module in own if not module.startswith("_")] or [_canonical(name)]
        found[min(likely, key=lambda module: (_canonical(module) != _canonical(name), module))] = name
    return found


def _requirements() -> list[str]:
    """The lines of our own requirements that hold without an extra."""
    return [line for line in metadata.requires(DISTRIBUTION) or [] if "extra ==" not in line]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _packages(modules: Mapping[str, str], problems: Mapping[str, str]) -> Iterator[Finding]:
    import platform

    from erasure_bench import __version__

    yield Finding("packages", "python", "ok", platform.python_version())
    yield Finding("packages", DISTRIBUTION, "ok", __version__)
    for module, distribution in modules.items():
        try:
            version = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            detail = f"not installed: pip install '{distribution}'"
            yield Finding("packages", distribution, "broken", detail)
            continue
        if problem := problems.get(module):
            detail = f"{version}, but {module!r} cannot be imported: {problem}"
            yield Finding("packages", distribution, "broken", detail)
        else:
            yield Finding("packages", distribution, "ok", version)


def _machine(problems: Mapping[str, str]) -> Iterator[Finding]:
    facts = hardware()
    cores = f"{facts['processor']}, {facts['cores']} cores for this process"
    yield Finding("machine", "processor", "ok", cores)
    yield Finding("machine", "memory", "ok", f"{facts['memory_gib']} GiB")
    if "torch" in problems:
        yield Finding("machine", "GPU", "note", "not known: torch cannot be imported")
        return
    import torch

    gpus = range(torch.cuda.device_count())
    for index in gpus:
        about = torch.cuda.get_device_properties(index)
        yield Finding("machine", f"cuda:{index}", "ok", f"{about.name}, {about.total_memory / _GIB:.0f} GiB")
    if not gpus:
        yield Finding("machine", "GPU", "note", "none: runs use the CPU")


def _network(asked_offline: bool) -> Iterator[Finding]:
    """Whether it may be asked, not whether it answers."""
    if asked_offline:
        yield Finding("network", "offline", "note", f"{OFFLINE_VARIABLE} is set: runs fetch nothing")
    else:
        yield Finding("network", "online", "ok", "runs fetch what is missing here, unless --offline")


def _models() -> Iterator[Finding]:
    from erasure_bench.models.zoo import ZOO, local_copy, places

    for name, entry in ZOO.items():
        if path := local_copy(name):
            yield Finding("models", name, "ok", str(path))
        elif entry.folder or any(place.is_dir() for place in places(name)):
            yield Finding("models", name, "broken", _why_not(name))
        else:
            looked = ", ".join(map(str, places(name)))
            fetched = f"a run fetches {entry.repo_id}@{str(entry.revision)[:9]} unless --offline"
            got = fetched if entry.repo_id else f"{entry.rebuild} makes it"
            yield Finding(
                "models",
                name,
                "absent",
                f"{got}; or put a copy in $BENCH_MODELS/{name}; looked in {looked}",
            )


def _why_not(model: str) -> str:
    """What a run would say of a model of which only a part is here."""
    from erasure_bench.models.zoo import resolve_model

    try:
        return str(resolve_model(model, download=False).path)
    except BenchError as error:
        return str(error)


def _methods() -> Iterator[Finding]:
    from erasure_bench.methods.registry import METHODS, method_card, method_names

    for name in method_names():
        try:
            with in_one_line(f"method {name!r}"):
                title = method_card(name).title
        except BenchError as error:
            yield Finding("methods", name, "broken" if name in METHODS else "note", str(error))
            continue
        if name not in METHODS:
            yield Finding("methods", name, "ok", f"{title} (another package's)")
    yield Finding("methods", "of this project", "ok", f"{len(METHODS)}")


def _evaluators(problems: Mapping[str, str]) -> Iterator[Finding]:
    from erasure_bench.evaluators.registry import EVALUATORS, OFFICIAL, evaluator_card, evaluator_names
    from erasure_bench.models.zoo import ZOO

    shipped = {entry.preset for entry in ZOO.values() if entry.folder}
    for name in evaluator_names():
        try:
            with in_one_line(f"evaluator {name!r}"):
                card = evaluator_card(name)
                presets = list(dict.fromkeys((OFFICIAL, *card.presets)))
                lacking = [f"{module} ({problems[module]})" for module in card.requires if module in problems]
        except BenchError as error:
            yield Finding("evaluators", name, "broken" if name in EVALUATORS else "note", str(error))
            continue
        if lacking:
            yield Finding("evaluators", name, "broken", f"needs {', '.join(lacking)}")
            continue
        for preset in presets:
            problem = _evaluator_problem(name, preset)
            verdict: Verdict = "ok" if not problem else "broken" if preset in shipped else "absent"
            yield Finding("evaluators", f"{name}, {preset}", verdict, problem or "ready: loaded here and now")


def _evaluator_problem(name: str, preset: str) -> str | None:
    """Why the evaluator cannot score here with these settings: its weights are loaded to know."""
    from erasure_bench.evaluators.registry import build_evaluator

    try:
        with in_one_line(f"evaluator {name!r}"):
            build_evaluator(name, preset).prepare()
    except BenchError as error:
        return str(error)
    return None


def _suites(data_dir: Path | None) -> Iterator[Finding]:
    from erasure_bench.prompt_suites.fetch import WrongCopy
    from erasure_bench.prompt_suites.general import LISTS, general_prompts
    from erasure_bench.prompt_suites.registry import load_suite, suite_card, suite_names

    def suite(name: str) -> str:
        found, card = load_suite(name, data_dir=data_dir), suite_card(name)
        prompts = {prompt.id for prompts in found.prompts.values() for prompt in prompts}
        source = f", {found.source}" if found.source else ""
        return f"{len(prompts):,} prompts, concepts: {len(card.concepts)}, made for {card.model}{source}"

    def general(name: str) -> str:
        return f"{len(general_prompts(name, data_dir)):,} prompts"

    loads = {name: partial(suite, name) for name in suite_names()}
    loads |= {f"general prompts, {name}": partial(general, name) for name in LISTS}
    for name, load in loads.items():
        try:
            with in_one_line(name):
                yield Finding("suites", name, "ok", load())
        except WrongCopy as error:
            yield Finding("suites", name, "broken", str(error))
        except BenchError as error:
            yield Finding("suites", name, "absent", str(error))


def _folders(store_asked: Path | None) -> Iterator[Finding]:
    from huggingface_hub import constants

    from erasure_bench.bench.cli.paths import STORE_VARIABLE, store_folder
    from erasure_bench.prompt_suites.fetch import user_cache

    store = store_folder(store_asked)
    source = (
        "--store" if store_asked else f"${STORE_VARIABLE}" if os.environ.get(STORE_VARIABLE) else "default"
    )
    yield _folder("store", store, "broken", f" ({source}), {_entries(store)}")
    # A run does without these: what it keeps there it finds out, or asks for, again.
    yield _folder("own cache", user_cache(), "note")
    yield _folder("hub's cache", Path(constants.HF_HUB_CACHE), "note")


def _entries(store: Path) -> str:
    if not store.is_dir():
        return "not there yet"
    kinds = ("erase", "generate", "score", "features")
    counts = {kind: sum(1 for _ in store.glob(f"{kind}/*/*")) for kind in kinds}
    return ", ".join(f"{number} {kind}" for kind, number in counts.items())


def _folder(name: str, folder: Path, otherwise: Verdict, more: str = "") -> Finding:
    """Whether a folder can be written, or made, and how much room its disk has."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return Finding("folders", name, otherwise, f"{folder}{more}: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK) or not _takes_files(there):
        return Finding("folders", name, otherwise, f"{folder}{more}: cannot be written")
    free = shutil.disk_usage(there).free / _GIB
    detail = f"{folder}{more}, {free:.1f} GiB free"
    return Finding("folders", name, "ok" if free >= LITTLE_ROOM_GIB else "note", detail)


def _takes_files(folder: Path) -> bool:
    """Whether a file can be made: for the administrator, permissions alone say nothing."""
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
