"""`bench card`: what an erased checkpoint's page on the Hugging Face hub says of it, from its run.

README.md is a model card with the numbers, their intervals and what they are compared with;
`.eval_results/*.yaml` are the same numbers as the hub reads them, for a dataset that is a benchmark there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from erasure_bench.bench.comparing.finished import FinishedRun
from erasure_bench.bench.planning.cases import slug
from erasure_bench.bench.reporting.run_file import RUN
from erasure_bench.bench.statistics.bars import bar_of
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.bench.words.numbers import ARROWS, decimals_for, number
from erasure_bench.bench.words.showing import in_markdown
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.prompt_suites.suite import ERASED_ROLES, ROLES

README, EVAL_RESULTS = "README.md", ".eval_results"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_OF_PROMPTS = {"library_name": "diffusers", "pipeline_tag": "text-to-image"}
_OF_CLASSES = {"library_name": "erasure-bench", "pipeline_tag": "unconditional-image-generation"}
"""The hub has no tag for pictures of a class."""
_TAGS = ["concept-erasure", "machine-unlearning", "erasure-bench"]
Row = Mapping[str, Any]


class ErasedCard:
    """The card of one row of a run, for one of its concepts."""

    def __init__(self, run: FinishedRun, method: str, concept: str | None) -> None:
        """Raises UnknownName, or BenchError where the row erases nothing or several concepts are left."""
        self.run, self.method = run, method
        if method not in run.methods:
            raise UnknownName(f"row of {run.folder}", method, run.methods, "METHOD")
        self.settings: Mapping[str, Any] = next(
            each for each in run.record["method_settings"] if each["method"] == method
        )
        if method == run.baseline or self.settings["base"] != run.record["model_digest"]:
            raise BenchError(f"{method} is a base model as it is: nothing is erased from it")
        self.concept = _chosen(run, concept)
        self.rows = _headline_rows(run, method, self.concept)
        if not self.rows:
            raise BenchError(f"{run.folder} has no number of {method} for {self.concept}")

    def write(self, folder: Path, dataset: str | None, url: str | None, base: str | None) -> list[Path]:
        """Writes the files into the folder; those that are not there yet. Returns their paths.

        `dataset` is the hub's dataset that is the benchmark: without it there are no `.eval_results`. `url`
        is where the run can be looked at. Raises BenchError where another README.md lies there.
        """
        for what, name in (("--dataset", dataset), ("--base-model", base)):
            if name is not None and not _HUB_ID.fullmatch(name):
                raise BenchError(f"{what} {name}: is no id of the hub: write it as OWNER/NAME")
        files = {README: self.readme(base)}
        if dataset is not None:
            name = f"{slug(str(self.run.record['suite']))}-{slug(self.concept)}.yaml"
            files[f"{EVAL_RESULTS}/{name}"] = self.eval_results(dataset, url)
        try:
            for name, text in files.items():
                path = folder / name
                if path.exists() and path.read_text(encoding="utf-8") != text:
                    raise BenchError(f"--out {folder}: there is another {name} already: name another folder")
            for name, text in files.items():
                write_text(folder / name, text)
        except (OSError, UnicodeDecodeError) as error:
            raise BenchError(f"--out {folder}: {getattr(error, 'strerror', None) or error}") from error
        return [folder / name for name in files]

    def readme(self, base: str | None) -> str:
        """The model card."""
        return "\n".join([*self._front_matter(base), *self._body()]) + "\n"

    def eval_results(self, dataset: str, url: str | None) -> str:
        """One entry for each headline number; `task_id` is `SUITE.ROLE.EVALUATOR.METRIC`."""
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

        made = datetime.fromtimestamp((self.run.folder / RUN).stat().st_mtime, UTC)
        entries = [
            EvalResultEntry(
                dataset_id=dataset,
                task_id=f"{self.run.record['suite']}.{row['role']}.{row['evaluator']}.{row['metric']}",
                value=row["value"],
                date=made.strftime("%Y-%m-%d"),
                source_url=url,
                source_name=None if url is None else "erasure-bench run",
                notes=f"{self.concept}; 95% interval {_interval(row)}; base model {_short(row, 'base')}",
            )
            for row in self.rows
        ]
        return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)

    def _front_matter(self, base: str | None) -> Iterator[str]:
        model = self.run.record["config"]["model"] or ""
        about: dict[str, Any] = {}
        if base or _HUB_ID.fullmatch(model):
            about["base_model"] = base or model
        about |= _OF_CLASSES if self._asked_by_classes else _OF_PROMPTS
        about["tags"] = _TAGS
        yield "---"
        yield yaml.safe_dump(about, sort_keys=False).rstrip()
        yield "---"

    @property
    def _asked_by_classes(self) -> bool:
        """Of a base model that is asked by prompts the run says which of them it cuts."""
        facts = self.run.record.get("base_models", {}).get(self.run.record["model"])
        return facts is not None and "prompts_cut" not in facts

    def _body(self) -> Iterator[str]:
        run, record = self.run, self.run.record
        model = in_markdown(str(record["model"]))
        concept, method = in_markdown(self.concept), in_markdown(self.method)
        yield f"# {model} without {concept}"
        yield ""
        yield f"*{concept}* was erased from {model} (sha256 `{record['model_digest']}`) by {method}."
        yield "The licence of the base model holds for this one too."
        yield ""
        if collapsed := next((row["collapsed"] for row in self.rows if row["collapsed"]), None):
            yield f"**The pictures have collapsed: {in_markdown(collapsed)}. No number below is a success.**"
            yield ""
        yield "| Prompts | Measure | Base model | This model | Change |"
        yield "|---|---|--:|--:|--:|"
        for row in self.rows:
            title = f"{row['title']} {ARROWS.get(row['better'], '')}".strip()
            yield (
                f"| {row['role']} | {in_markdown(title)} | {_short(row, 'base')} "
                f"| {_short(row, 'value')} {_interval(row)} | {_change(row)} |"
            )
        yield ""
        yield "Intervals are 95 %, over prompts; changes are of pictures from the same prompt and noise."
        yield (
            f"↓ and ↑ say which way is better. Bars: {bar_of(True)} on {_roles(self.rows, erased=True)}, "
            f"{bar_of(False)} on {_roles(self.rows, erased=False)}."
        )
        if len(seeds := record["config"]["seeds"]) > 1:
            yield f"The numbers are means over models of the seeds {', '.join(map(str, seeds))}."
        yield ""
        if cautions := run.document.get("cautions"):
            yield "To know first:"
            yield ""
            yield from (f"- {in_markdown(caution)}" for caution in cautions)
            yield ""
        yield "## How it was made and measured"
        yield ""
        yield f"- method {method}, preset {self.settings['preset']}: `{self.settings['settings']}`"
        yield f"- suite {run.suite}, {self._drawing()}"
        for name, key in run.protocols.items():
            yield f"- evaluator {in_markdown(name)}, protocol `{key}`"
        yield f"- erasure-bench {record['versions'].get('erasure-bench', '')}"
        yield ""
        yield "What nobody measured nobody knows: other prompts may still bring the concept back."

    def _drawing(self) -> str:
        drawn = self.run.document["protocol"]
        return f"{drawn['scheduler']}, {drawn['steps']} steps, guidance scale {drawn['guidance_scale']:g}"


def _chosen(run: FinishedRun, concept: str | None) -> str:
    names: Sequence[str] = run.document["concepts"]
    if concept is None:
        if len(names) > 1:
            raise BenchError(
                f"{run.folder} has several concepts: choose one with --concept ({', '.join(names)})"
            )
        return names[0]
    found = next((name for name in names if slug(name) == slug(concept)), None)
    if found is None:
        raise UnknownName("concept", concept, names, "--concept")
    return found


def _headline_rows(run: FinishedRun, method: str, concept: str) -> list[Row]:
    """The method's numbers of the concept, each with the base model's as `base`; roles in their order."""
    rows = [
        row
        for row in run.document["rows"]
        if row["headline"] and row["scope"] == "concept" and row["concept"] == concept
    ]
    base = {_key(row): row["value"] for row in rows if row["method"] == run.baseline}
    own = [{**row, "base": base.get(_key(row))} for row in rows if row["method"] == method]
    return sorted((row for row in own if row["value"] is not None), key=lambda row: ROLES.index(row["role"]))


def _key(row: Row) -> tuple[str, str, str]:
    return row["role"], row["evaluator"], row["metric"]


def _decimals(row: Row) -> int:
    return decimals_for([row[key] for key in ("value", "low", "high", "base") if row[key] is not None])


def _short(row: Row, key: str) -> str:
    value = row[key]
    return "–" if value is None else number(value, _decimals(row))


def _interval(row: Row) -> str:
    if row["low"] is None or row["high"] is None:
        return ""
    decimals = _decimals(row)
    return f"[{number(row['low'], decimals)}, {number(row['high'], decimals)}]"


def _change(row: Row) -> str:
    if row["change"] is None:
        return "–"
    verdict = f", {row['verdict']}" if row["verdict"] else ""
    return f"{number(row['change'], decimals_for([row['change']]), signed=True)}{verdict}"


def _roles(rows: Sequence[Row], *, erased: bool) -> str:
    found = dict.fromkeys(row["role"] for row in rows if (row["role"] in ERASED_ROLES) is erased)
    return " and ".join(found) or "others"
