"""What is installed, which weights and data are here, and whether there is a GPU."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

from erasure_bench.bench.cli.paths import STORE_VARIABLE, store_folder
from erasure_bench.bench.planning.chosen import missing_packages
from erasure_bench.bench.running.versions import hardware, package_versions
from erasure_bench.evaluators.registry import build_evaluator, evaluator_names
from erasure_bench.models.zoo import ZOO, local_copy
from erasure_bench.prompt_suites.card import SuiteCard
from erasure_bench.prompt_suites.errors import BenchError
from erasure_bench.prompt_suites.registry import DATA_FOLDER_VARIABLE, SUITES, load_suite, suite_card

OWN_SOURCE = next(field.default for field in fields(SuiteCard) if field.name == "source")
Verdict = Literal["ok", "absent", "note"]


class Finding(NamedTuple):
    """One line of the examination."""

    topic: str
    name: str
    verdict: Verdict
    detail: str


def examine(data_dir: Path | None = None, store: Path | None = None) -> list[Finding]:
    """Everything that decides what a run here can do. Asks no network and loads no weights."""
    return [*_packages(), *_machine(), *_models(), *_evaluators(), *_suites(data_dir), _store(store)]


def to_json(findings: list[Finding]) -> list[dict[str, Any]]:
    """The findings as JSON's types."""
    return [finding._asdict() for finding in findings]


def _packages() -> list[Finding]:
    return [Finding("packages", name, "ok", found) for name, found in package_versions().items()]


def _machine() -> list[Finding]:
    facts = hardware()
    found = [
        Finding(
            "machine", "processor", "ok", f"{facts['processor']}, {facts['cores']} cores for this process"
        ),
        Finding("machine", "memory", "ok", f"{facts['memory_gib']} GiB"),
    ]
    try:
        import torch
    except ImportError as error:
        return [*found, Finding("machine", "GPU", "absent", f"torch cannot be imported: {error}")]
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if not gpus:
        return [*found, Finding("machine", "GPU", "note", "none: runs use the CPU")]
    return [*found, *(Finding("machine", f"cuda:{index}", "ok", name) for index, name in enumerate(gpus))]


def _models() -> list[Finding]:
    found = []
    for name, entry in ZOO.items():
        path = local_copy(name)
        how = f"not here; {entry.repo_id} would be fetched" if entry.repo_id else f"not here; {entry.rebuild}"
        found.append(Finding("models", name, "ok" if path else "absent", str(path) if path else how))
    return found


def _evaluators() -> list[Finding]:
    found = []
    for name in evaluator_names():
        if missing := missing_packages(name):
            found.append(Finding("evaluators", name, "absent", f"needs {', '.join(missing)}"))
            continue
        presets: dict[str, str] = {}
        for preset in dict.fromkeys((None, *(entry.preset for entry in ZOO.values() if entry.preset))):
            try:
                build_evaluator(name, preset).protocol()
                presets[preset or "official"] = "ready"
            except BenchError as error:
                presets[preset or "official"] = str(error)
        ready = all(text == "ready" for text in presets.values())
        detail = "; ".join(f"{preset}: {text}" for preset, text in presets.items())
        found.append(Finding("evaluators", name, "ok" if ready else "note", detail))
    return found


def _suites(data_dir: Path | None) -> list[Finding]:
    found = []
    has_folder = data_dir is not None or bool(os.environ.get(DATA_FOLDER_VARIABLE))
    for name in SUITES:
        card = suite_card(name)
        if card.source != OWN_SOURCE and not has_folder:
            # Loading it now could fetch the data, which an examination must not do.
            detail = f"upstream data, read or fetched at the first run ({DATA_FOLDER_VARIABLE}, --data-dir)"
            found.append(Finding("suites", name, "note", detail))
            continue
        try:
            suite = load_suite(name, data_dir=data_dir)
        except BenchError as error:
            found.append(Finding("suites", name, "absent", str(error)))
            continue
        prompts = {prompt.id for prompts in suite.prompts.values() for prompt in prompts}
        detail = f"{len(prompts):,} prompts, concepts: {len(card.concepts)}, made for {card.model}"
        found.append(Finding("suites", name, "ok", detail))
    return found


def _store(asked: Path | None) -> Finding:
    folder = store_folder(asked)
    source = "--store" if asked else f"${STORE_VARIABLE}" if os.environ.get(STORE_VARIABLE) else "default"
    if not folder.exists():
        return Finding("store", str(folder), "note", f"not there yet ({source})")
    counts = {kind: sum(1 for _ in folder.glob(f"{kind}/*/*")) for kind in ("erase", "generate", "score")}
    return Finding(
        "store", str(folder), "ok", f"{', '.join(f'{n} {kind}' for kind, n in counts.items())} ({source})"
    )
