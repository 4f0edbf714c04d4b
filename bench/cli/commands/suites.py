"""`bench suite new`, `suite check` and `fetch`: prints what they did and found."""

import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from erasure_bench.attacks.registry import build_attack
from erasure_bench.bench.cli.output import print_json, stdout_console, words
from erasure_bench.bench.cli.suite_outline import said_attacks
from erasure_bench.bench.planning.bases import CutPrompts, cut_at, cut_prompts
from erasure_bench.bench.planning.chosen import missing_packages
from erasure_bench.bench.planning.suite_attacks import checked_name, texts_of
from erasure_bench.bench.words.grid import Column, grids
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.evaluators.instances import instance
from erasure_bench.evaluators.registry import build_evaluator, evaluator_card, evaluator_names
from erasure_bench.prompt_suites.fetch import locate
from erasure_bench.prompt_suites.registry import (
    complete_options,
    data_folder,
    in_suite_file,
    load_suite,
    suite_card,
)
from erasure_bench.prompt_suites.scaffold import new_suite
from erasure_bench.prompt_suites.suite import ERASED_ROLES, ROLES, Prompt, Suite

CLIP_TOKENS = 77
NAMED = 12
"""How many of the prompts that are left out or cut are named; --json names all."""
_BRACES = re.compile(r"\{\w*\}")


def make_suite(name: str, folder: Path) -> int:
    """Writes the two files and says how to go on."""
    file, prompts = new_suite(name, folder)
    path = shlex.quote(str(file) if file.is_absolute() else f"./{file}")
    stdout_console().print(
        "\n".join(
            [
                f"{file} and {prompts}: edit them, then",
                f"  bench suite check {path}",
                f"  bench run --suite {path} --methods esd-x,sld-medium",
            ]
        )
    )
    return 0


def check_suite(name: str, options: Mapping[str, str], data_dir: Path | None, *, as_json: bool) -> int:
    """Prints what the suite holds; raises BenchError for what is wrong with it."""
    card = suite_card(name)
    suite = load_suite(name, data_dir=data_dir, options=options)
    unscreened = card.load(data_folder(data_dir), complete_options(card, options))
    notes = _evaluator_notes(name, suite, card.further_evaluators)
    _check_attacks(name, suite)
    drawn = _all(suite)
    notes += _oversights(suite) if in_suite_file(name) else ()
    cut, note = _cut(suite.model, tuple(drawn.values()))
    left_out = [id for id in _all(unscreened) if id not in drawn]
    document: dict[str, Any] = {
        "suite": suite.name,
        "version": suite.version,
        "title": suite.title,
        "licence": suite.licence,
        "source": suite.source,
        "model": suite.model,
        "evaluators": list(suite.evaluators),
        "attacks": said_attacks(suite.attacks),
        "further_evaluators": list(card.further_evaluators),
        "options": complete_options(card, options),
        "prompts": len(drawn),
        "pictures": sum(map(suite.protocol.images_of, drawn.values())),
        "concepts": {concept.name: _by_role(suite, concept.name) for concept in suite.concepts},
        "left_out": {"reasons": [part._asdict() for part in suite.left_out], "ids": left_out},
        "cut": {"tokens": cut.tokens, "ids": list(cut.ids)},
        "notes": [*notes, *([note] if note else [])],
    }
    if as_json:
        print_json(document)
        return 0
    _print(document, cut)
    return 0


def fetch_suite(name: str, data_dir: Path | None, *, as_json: bool) -> int:
    """Prints where each file of the suite lies; raises BenchError for one that cannot be had."""
    card = suite_card(name)
    folder = data_folder(data_dir)
    found = [locate(*group, data_dir=folder) for group in card.upstream]
    rows = [
        {
            "file": each.file.path,
            "repository": each.file.repository,
            "commit": each.file.commit,
            "sha256": each.file.sha256,
            "at": str(each.where),
        }
        for each in found
    ]
    if as_json:
        print_json({"suite": card.name, "licence": card.licence, "files": rows})
        return 0
    console = stdout_console()
    for row in rows:
        console.print(words(f"{row['repository']}@{row['commit'][:12]} {row['file']}: {row['at']}"))
    what = f"{len(rows)} files, each with the sha256 it is pinned by" if rows else "nothing to fetch"
    console.print(words(f"{card.name}: {what}; licence: {card.licence or 'the project’s own'}"))
    return 0


def _all(suite: Suite) -> dict[str, Prompt]:
    return {prompt.id: prompt for prompts in suite.prompts.values() for prompt in prompts}


def _by_role(suite: Suite, concept: str) -> dict[str, int]:
    roles = [prompt.role for prompt in suite.prompts[concept]]
    return {role: roles.count(role) for role in ROLES if role in roles}


def _evaluator_notes(name: str, suite: Suite, further: Iterable[str]) -> list[str]:
    """Which evaluators are not installed.

    Raises UnknownName for an evaluator or an instance of it that is none, BenchError for an option that it
    does not have and a value that it does not take.
    """
    notes = []
    for kind, evaluators in (("evaluators", suite.evaluators), ("further_evaluators", further)):
        for evaluator in evaluators:
            of = instance(evaluator)
            if of.name not in evaluator_names():
                raise UnknownName("evaluator", evaluator, evaluator_names(), f"{kind}, {name}")
            if of.label and of.label not in (presets := evaluator_card(evaluator).presets):
                raise UnknownName(f"preset of {of.name}", of.label, presets, f"{kind}, {name}")
            if missing := missing_packages(evaluator):
                packages = ", ".join(missing)
                notes.append(f"evaluator {evaluator} needs {packages}: not installed, a run skips it")
            elif settings := suite.evaluator_options.get(of.name, {}):
                try:
                    build_evaluator(evaluator, settings=settings)
                except BenchError as error:
                    raise BenchError(f"{name}: evaluator_options: {error}") from error
    return notes


def _oversights(suite: Suite) -> Iterator[str]:
    """What is allowed in a suite, and seldom meant."""
    for concept, prompts in suite.prompts.items():
        if all(prompt.role not in ERASED_ROLES for prompt in prompts):
            yield f"{concept}: no prompt has the role target: nothing will say whether it is erased"
    braces = {id: found[0] for id, prompt in _all(suite).items() if (found := _BRACES.search(prompt.text))}
    if braces:
        said = ", ".join(dict.fromkeys(braces.values()))
        where = _some(list(braces))
        yield f"{said} stands for nothing in {where}: {{}} is the concept, names are those of fill"


def _check_attacks(name: str, suite: Suite) -> None:
    """Raises UnknownName, or BenchError for an option that the attack does not have, with whose it is."""
    for attack in suite.attacks:
        checked_name(attack, name)
        try:
            build_attack(attack.name, options=texts_of(attack))
        except BenchError as error:
            raise BenchError(f"{name}: attacks: {error}") from error


def _cut(model: str, prompts: tuple[Prompt, ...]) -> tuple[CutPrompts, str]:
    """The prompts that the suite's model cuts; by CLIP's own vocabulary where the model is not here."""
    from erasure_bench.models.clip_vocabulary import write_tokenizer
    from erasure_bench.models.prompt_lengths import token_counts
    from erasure_bench.models.zoo import resolve_model

    try:
        return cut_prompts(resolve_model(model, download=False).path, prompts), ""
    except UnknownName:
        raise
    except BenchError:
        with tempfile.TemporaryDirectory() as folder:
            write_tokenizer(Path(folder) / "tokenizer", CLIP_TOKENS)
            counts = token_counts(Path(folder), [prompt.text for prompt in prompts])
        return (
            cut_at(CLIP_TOKENS, counts, prompts),
            f"model {model} is not here: tokens are counted by CLIP's own vocabulary",
        )


def _print(document: Mapping[str, Any], cut: CutPrompts) -> None:
    console = stdout_console()
    console.print(words(f"{document['title']} ({document['suite']} {document['version']})", "bold"))
    concepts: Mapping[str, Mapping[str, int]] = document["concepts"]
    roles = [role for role in ROLES if any(role in counts for counts in concepts.values())]
    columns = [
        Column(words(role), tuple(words(counts.get(role, "")) for counts in concepts.values()))
        for role in roles
    ]
    for table in grids("concept", [words(name) for name in concepts], columns, console.width):
        console.print(table)
    ids = document["left_out"]["ids"]
    further = ", ".join(document["further_evaluators"])
    lines = [
        "",
        f"{document['prompts']:,} prompts, {document['pictures']:,} pictures of every method and seed "
        f"on {document['model']}, measured by {', '.join(document['evaluators'])}"
        + (f"; where what they need is here, by {further}" if further else ""),
        *([f"attacked by {attacks}"] if (attacks := document["attacks"]) else []),
        *(f"left out: {part['rows']:,} ({part['reason']})" for part in document["left_out"]["reasons"]),
        *([f"left out are: {_some(ids)}"] if ids else []),
        cut.words,
        *([f"cut are: {_some(cut.ids)}"] if cut.ids else []),
        *document["notes"],
        f"source: {document['source']}; licence: {document['licence'] or 'the project’s own'}",
    ]
    for line in lines:
        console.print(words(line))


def _some(ids: Any) -> str:
    return ", ".join(ids[:NAMED]) + (f", … ({len(ids):,})" if len(ids) > NAMED else "")
