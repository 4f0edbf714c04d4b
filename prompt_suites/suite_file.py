"""A suite from its YAML file: a card without its data, and the whole suite."""

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.card import SuiteCard
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.fetch import UpstreamFile, locate
from erasure_bench.prompt_suites.prompt_rows import PromptReader, chosen_rows, filled_rows, rows_in_suite
from erasure_bench.prompt_suites.rows import PROMPT, Row, check_cells, rows_of
from erasure_bench.prompt_suites.schema import WORDS, PromptSource, SuiteFile, When, parsed
from erasure_bench.prompt_suites.screen import WEAK_ROWS, WEAK_ROWS_CHOICES, concept_is_unsafe
from erasure_bench.prompt_suites.suite import Prompt, Suite
from erasure_bench.users_text import decoded
from erasure_bench.yaml_marks import Marked, read_marked

LARGEST_YAML, LARGEST_ROWS = 4 * 2**20, 64 * 2**20
"""Bytes of a YAML file and of a file of prompts that are read at most."""


@dataclass(frozen=True)
class ReadSuite:
    """A suite's file as it was read: where, as the user wrote it, what it says, and its sha256."""

    path: Path
    where: str
    marked: Marked
    spec: SuiteFile
    sha256: str

    def load(self, data_dir: Path | None, options: Mapping[str, str]) -> Suite:
        """The suite with its prompts, before the screen. Raises BenchError that says what is wrong where."""
        spec = self.spec
        concepts = self.concepts(options)
        if not concepts:
            raise BenchError(f"{self.where}: no concept is left with {_said(options)}")
        found: dict[str, dict[str, Prompt]] = {concept.name: {} for concept in concepts}
        places: dict[str, tuple[Prompt, str]] = {}
        sources: dict[str, None] = {}
        anchors = self._anchor_prompts(options, data_dir, sources)
        for number, source in enumerate(spec.prompts):
            if not active(source.when, options):
                continue
            at = f"{self.where}:{self.marked.line(('prompts', number))}"
            rows, origin = self._rows(source, at, data_dir)
            sources |= dict.fromkeys([origin] if origin else [])
            chosen = chosen_rows(source, filled_rows(source, rows, at), options)
            reader = PromptReader(source, {**rows[0].cells, **source.fill}, concepts)
            for row in chosen:
                for name, prompt in reader.read(row):
                    _once(prompt, row, name, found[name], places)
                    found[name][prompt.id] = prompt
        if empty := [name for name, prompts in found.items() if not prompts]:
            raise BenchError(f"{self.where}: no prompts for {', '.join(empty)}")
        try:
            return Suite(
                name=spec.name,
                version=spec.version,
                title=spec.title,
                description=spec.description,
                concepts=tuple(
                    replace(concept, anchor_prompts=anchors.get(concept.name, concept.anchor_prompts))
                    for concept in concepts
                ),
                prompts={name: tuple(prompts.values()) for name, prompts in found.items()},
                protocol=spec.protocol.protocol(),
                evaluators=spec.evaluators,
                evaluator_options=spec.evaluator_options,
                attacks=spec.suite_attacks(),
                model=spec.model,
                reference_resolution=spec.reference_resolution,
                source="; ".join(sources) or self.origin,
                licence=spec.licence,
            )
        except ValueError as error:
            raise BenchError(f"{self.where}: {error}") from error

    def concepts(self, options: Mapping[str, str]) -> tuple[Concept, ...]:
        """The concepts that the suite has with these options, without the anchor prompts of files."""
        return tuple(
            concept
            for entry in self.spec.concepts
            if active(entry.when, options)
            for concept in entry.concepts()
        )

    @property
    def options(self) -> dict[str, tuple[str, ...]]:
        """The values of every option, the default first; the screen's own where anything is unsafe."""
        own: dict[str, tuple[str, ...]] = dict(self.spec.options)
        concepts = (concept for entry in self.spec.concepts for concept in entry.concepts())
        return own | ({WEAK_ROWS: WEAK_ROWS_CHOICES} if any(map(concept_is_unsafe, concepts)) else {})

    @property
    def origin(self) -> str:
        """The file's name and digest."""
        return f"{self.path.name} sha256 {self.sha256}"

    @property
    def digest(self) -> str:
        """sha256 of all that the file says but its words; comments and defaults never change it."""
        said = self.spec.model_dump_json(exclude=WORDS, exclude_defaults=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def _anchor_prompts(
        self, options: Mapping[str, str], data_dir: Path | None, sources: dict[str, None]
    ) -> dict[str, tuple[str, ...]]:
        """The anchor prompts that files of upstream hold, by concepts; adds the files to `sources`."""
        found: dict[str, tuple[str, ...]] = {}
        for entry in self.spec.concepts:
            if entry.anchor_prompts_from is not None and active(entry.when, options):
                rows, origin = self._upstream((entry.anchor_prompts_from,), data_dir)
                sources[origin] = None
                prompts = tuple(row.cells[PROMPT].strip() for row in rows)
                found |= dict.fromkeys((concept.name for concept in entry.concepts()), prompts)
        return found

    def _upstream(self, names: Sequence[str], data_dir: Path | None) -> tuple[list[Row], str]:
        """The rows of the first of these files of upstream that is at hand, and which it is."""
        found = locate(*(self.spec.files[name] for name in names), data_dir=data_dir)
        file = found.file
        origin = f"{file.repository}@{file.commit}:{file.path} sha256 {file.sha256}"
        return rows_of(file.name, found.content, own=False), origin

    def _rows(self, source: PromptSource, at: str, data_dir: Path | None) -> tuple[list[Row], str]:
        """The rows of a source, and what they were read from."""
        if source.upstream:
            return self._upstream(source.upstream, data_dir)
        if source.file is not None:
            content = _bytes(self.path.parent / source.file, LARGEST_ROWS, at)
            origin = f"{source.file} sha256 {hashlib.sha256(content).hexdigest()}"
            return rows_of(source.file, content, own=True), origin
        rows = rows_in_suite(source, at)
        for row in rows:
            check_cells(row)
        return rows, ""


def _once(
    prompt: Prompt, row: Row, concept: str, known: Mapping[str, Prompt], places: dict[str, tuple[Prompt, str]]
) -> None:
    """Raises BenchError where another row has the prompt's id."""
    before = places.setdefault(prompt.id, (prompt, row.where))
    if before[0] != prompt or prompt.id in known:
        raise BenchError(
            f"{row.where}: id {prompt.id!r} of {concept} is that of {before[1]}, too: give one of the two "
            "another id, seed or text"
        )


def active(when: When, options: Mapping[str, str]) -> bool:
    """Whether a part of the suite is there with these options."""
    return all(options[option] in values for option, values in when.items())


def read_suite(path: Path, where: str | None = None) -> ReadSuite:
    """Reads and checks the YAML file; `where` is what errors call it. Reads no prompts."""
    said = where or str(path)
    content = _bytes(path, LARGEST_YAML, said)
    marked = read_marked(decoded(content, said), said)
    return ReadSuite(path, said, marked, parsed(marked, said), hashlib.sha256(content).hexdigest())


def card_of_file(read: ReadSuite) -> SuiteCard:
    """The card of a suite in a file."""
    spec = read.spec
    default = {option: values[0] for option, values in read.options.items()}
    return SuiteCard(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        concepts=tuple(concept.name for concept in read.concepts(default)),
        model=spec.model,
        version=spec.version,
        load=read.load,
        options=read.options,
        source=spec.source,
        licence=spec.licence,
        reported=spec.reported,
        upstream=tuple(_groups(spec)),
        digest=read.digest,
        further_evaluators=spec.further_evaluators,
    )


def _groups(spec: SuiteFile) -> Iterator[tuple[UpstreamFile, ...]]:
    """Files of which one is enough, each group once."""
    of_prompts = (source.upstream for source in spec.prompts if source.upstream)
    of_anchors = ((entry.anchor_prompts_from,) for entry in spec.concepts if entry.anchor_prompts_from)
    for names in dict.fromkeys((*of_prompts, *of_anchors)):
        yield tuple(spec.files[name] for name in names)


@functools.cache
def shipped_card(path: Path) -> SuiteCard:
    """The card of one of the project's own files."""
    return card_of_file(read_suite(path, path.name))


def own_card(name: str, path: Path, taken: Sequence[str]) -> SuiteCard:
    """The card of a user's suite; its version says its content, so that no table takes one for another.

    Raises BenchError, also where the name is one of `taken`.
    """
    read = read_suite(path, name)
    if read.spec.name in taken:
        line = read.marked.line(("name",))
        raise BenchError(f"{name}:{line}: name: {read.spec.name!r} is a suite of the project: take another")
    card = card_of_file(read)

    def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
        suite = read.load(data_dir, options)
        files = [suite.source] if suite.source != read.origin else []
        source = "; ".join([read.origin, *files])
        content = hashlib.sha256(f"{read.digest} {'; '.join(files)}".encode()).hexdigest()
        return replace(suite, version=f"{suite.version}+{content[:8]}", source=source)

    return replace(card, load=load)


def _bytes(path: Path, most: int, where: str) -> bytes:
    try:
        if not path.exists():
            looked = "" if path.is_absolute() else f" (looked in {Path.cwd()})"
            raise BenchError(f"{where}: no such file: {path}{looked}")
        if not path.is_file():
            raise BenchError(f"{where}: {path} is no file")
        if path.stat().st_size > most:
            raise BenchError(f"{where}: {path} is larger than {most // 2**20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise BenchError(f"{where}: {path} cannot be read: {error.strerror or error}") from error


def _said(options: Mapping[str, str]) -> str:
    return ", ".join(f"{option}={value}" for option, value in options.items())
