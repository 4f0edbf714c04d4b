"""A page for every method, evaluator, attack, suite, model and transformation: its card (`bench show`)."""

from collections import Counter
from collections.abc import Mapping, Sequence

from erasure_bench.bench.cli.cards import KINDS, Kind, Sheet, listed, sheet_of
from website.markdown import code, formula, link, paragraphs, prose, table

ABOUT: Mapping[Kind, str] = {
    "methods": "Ways to erase a concept. `--methods LIST` names them, `bench show NAME` prints a card.",
    "evaluators": "What looks at pictures and writes scores. `--evaluators LIST` names them in place of a "
    "suite's own; `NAME@PRESET` asks for a preset.",
    "attacks": "Ways to bring an erased concept back. `--attacks LIST` names them, `NAME:VALUE` with a "
    "number, its main setting; each stands beside its control.",
    "suites": "Prompts and concepts, with the protocol that pictures are drawn by. `--suite NAME` names one.",
    "models": "Generators that are known by name. `--model` takes such a name, a pipeline's folder, a "
    "single-file checkpoint or a hub id.",
    "transformations": "Ways to ask for a suite's prompts in other words. `--transform NAME` adds them.",
}
MORE: Mapping[Kind, str] = {
    "methods": "paper",
    "evaluators": "paper",
    "attacks": "paper",
    "suites": "concepts",
    "transformations": "roles",
}
"""What the last column of a kind's list is; that of models says only what is on this machine."""
OF_THIS_MACHINE = {"here"}
"""Facts of a card that hold where the site is built and nowhere else."""
SENTENCES = ("description", "notes")
METRIC = "metric "


def card_pages() -> dict[str, str]:
    """The Markdown of each page by its place in the site: a list for each kind, and its cards."""
    pages = {}
    for kind in KINDS:
        found = listed(kind)
        pages[f"{kind}/index.md"] = "\n".join(_index(kind, found))
        pages |= {f"{kind}/{each.name}.md": "\n".join(_card(sheet_of(kind, each.name))) for each in found}
    return pages


def _index(kind: Kind, found: Sequence[tuple[str, str, str]]) -> list[str]:
    page = f"{kind}/index.md"
    rows = [
        [
            link(code(name), f"{kind}/{name}.md", page),
            prose(title, page),
            *([prose(more, page)] if kind in MORE else []),
        ]
        for name, title, more in found
    ]
    heads = ["name", "title", *([MORE[kind]] if kind in MORE else [])]
    return [f"# {kind.capitalize()}", "", ABOUT[kind], "", *table(heads, rows)]


def _card(card: Sheet) -> list[str]:
    page = f"{card.kind}/{card.name}.md"
    facts = {name: text for name, text in card.facts.items() if name not in OF_THIS_MACHINE}
    lines = [f"# {code(card.name)}", "", prose(card.title, page), "{ .subtitle }", ""]
    if said := facts.pop("formula", ""):
        lines += [formula(said, page), "{ .formula }", ""]
    for name in SENTENCES:
        lines += paragraphs(facts.pop(name, ""), page)
    metrics = {name: facts.pop(name) for name in list(facts) if name.startswith(METRIC)}
    lines += table(["", ""], [[name, prose(text, page)] for name, text in facts.items()])
    if card.kind == "suites":
        lines += _concepts(card.name, page)
    if metrics:
        rows = [[code(name.removeprefix(METRIC)), prose(text, page)] for name, text in metrics.items()]
        lines += ["## Metrics", "", *table(["metric", "title, unit, and which way erasure wants it"], rows)]
    if card.settings:
        lines += ["## Settings", "", *paragraphs(card.about, page), *_settings(card.settings)]
    return lines


def _settings(settings: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A column for the defaults, and one for what each preset makes of them."""
    presets = [preset for preset in next(iter(settings.values())) if preset != "default"]
    rows = [
        [
            code(name),
            code(values["default"]),
            *(code(values[preset]) if values[preset] != values["default"] else "" for preset in presets),
        ]
        for name, values in settings.items()
    ]
    lines = table(["setting", "default", *map(code, presets)], rows)
    return [*lines, *(["A preset's empty place keeps the default.", ""] if presets else [])]


def _concepts(name: str, page: str) -> list[str]:
    """What the suite erases, and how many prompts each role has, where that takes no upstream data."""
    from erasure_bench.bench.cli.suite_outline import outline
    from erasure_bench.prompt_suites.registry import load_suite, suite_card

    rows = [
        [
            prose(concept.name, page),
            concept.kind,
            ", ".join(map(code, concept.targets)),
            code(concept.anchor),
            prose(", ".join(concept.neighbours), page),
        ]
        for concept in outline(name).concepts
    ]
    lines = ["## Concepts", "", *table(["concept", "kind", "target phrases", "anchor", "neighbours"], rows)]
    if suite_card(name).upstream:
        return lines
    counts = {
        concept: Counter(each.role for each in each_of)
        for concept, each_of in load_suite(name).prompts.items()
    }
    roles = list(dict.fromkeys(role for count in counts.values() for role in count))
    numbers = [
        [prose(concept, page), *(str(count[role]) for role in roles)] for concept, count in counts.items()
    ]
    return [*lines, "## Prompts by role", "", *table(["concept", *roles], numbers)]
