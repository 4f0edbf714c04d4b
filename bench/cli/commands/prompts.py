"""`bench prompts`: what a suite asks for, word for word, and what transformations make of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.text import Text

from erasure_bench.bench.cli.output import print_json, stdout_console, words
from erasure_bench.bench.planning.cases import pick_cases
from erasure_bench.bench.words.listing import listing
from erasure_bench.prompt_suites.registry import load_suite
from erasure_bench.prompt_suites.suite import Prompt, Suite
from erasure_bench.prompt_suites.transformations.applying import transformed


def print_prompts(
    name: str,
    concepts: Sequence[str],
    transform: Sequence[str],
    suite_options: Mapping[str, str],
    data_dir: Path | None,
    *,
    as_json: bool,
) -> int:
    """Prints every prompt of the suite's concepts, or with `transform` those that it rewrites."""
    suite = load_suite(name, data_dir=data_dir, options=suite_options)
    cases = tuple(dict.fromkeys(case.concept for case in pick_cases(suite, concepts)))
    suite = transformed(suite, transform, cases)
    named = [concept.name for concept in cases]
    if as_json:
        print_json(_document(suite, named))
        return 0
    console = stdout_console()
    console.print(Text.assemble(words(suite.name, "bold"), "  ", words(suite.version)))
    for concept in named:
        rows = _rewritten(suite, concept) if transform else _asked(suite.prompts[concept])
        console.print(Text.assemble("\n", words(concept, "bold cyan")))
        console.print(listing(rows, console.width))
    return 0


def _asked(prompts: Sequence[Prompt]) -> list[tuple[Text, ...]]:
    return [(words(prompt.role, "dim"), words(prompt.id), words(prompt.text)) for prompt in prompts]


def _rewritten(suite: Suite, concept: str) -> list[tuple[Text, ...]]:
    """Each prompt, below it what became of it and how."""
    texts = {prompt.id: prompt.text for prompt in suite.prompts[concept]}
    rows: list[tuple[Text, ...]] = []
    shown = ""
    for made in suite.rewritten:
        if made.concept != concept:
            continue
        if made.source != shown:
            rows.append((words(made.source), words(texts[made.source])))
            shown = made.source
        if made.prompt is None:
            rows.append((Text(""), words(f"as it is: {made.change}", "dim")))
        else:
            rows.append((Text(""), Text.assemble(words(texts[made.prompt]), "  ", words(made.change, "dim"))))
    return rows


def _document(suite: Suite, concepts: Sequence[str]) -> dict[str, object]:
    return {
        "suite": suite.name,
        "version": suite.version,
        "prompts": [
            {
                "concept": concept,
                "role": prompt.role,
                "id": prompt.id,
                "text": prompt.text,
                "seed": prompt.seed,
                "tags": list(prompt.tags),
                "rewrites": prompt.rewrites,
            }
            for concept in concepts
            for prompt in suite.prompts[concept]
        ],
        "rewritten": [made._asdict() for made in suite.rewritten],
    }
