"""The pictures that a model has memorised, from a folder: a picture's name says whose they are.

    FOLDER/anne.png             of the concept, or of the subject of a prompt, "anne"
    FOLDER/anne/1.png, 2.png    several of it: a picture is held against the nearest
    FOLDER/anne/target/00.png   of the one prompt whose id is "anne/target/00"

Case does not count, and spaces, underscores and hyphens are the same.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.picture_files import SUFFIXES, picture_files
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import ERASED_ROLES, Prompt


def plain_key(name: str) -> str:
    """A name as it is compared; the parts of a path keep their slashes."""
    return re.sub(r"[\s_-]+", "-", name.strip().lower())


def reference_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """By key: the pictures of it. Raises BenchError for a folder that is none or has no pictures."""
    if not folder.is_dir():
        raise BenchError(
            f"{folder} is no folder of memorised pictures (--evaluator-option memorization.references=FOLDER)"
        )
    found: dict[str, list[Path]] = {}
    for file in picture_files(folder):
        inside = file.relative_to(folder)
        keys = {plain_key(inside.with_suffix("").as_posix())}
        if len(inside.parts) > 1:
            keys.add(plain_key(inside.parent.as_posix()))
        for key in keys:
            found.setdefault(key, []).append(file)
    if not found:
        raise BenchError(f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return {key: tuple(files) for key, files in found.items()}


def wanted_keys(concept: Concept, prompt: Prompt) -> tuple[str, ...]:
    """Under which keys a prompt's memorised picture may stand, the nearest first.

    Its id; on erased roles the concept; then its own subject.
    """
    names = [prompt.id]
    if prompt.role in ERASED_ROLES:
        names += [concept.name, *concept.targets]
    return tuple(dict.fromkeys(map(plain_key, (*names, prompt.subject))))


def references_of(known: Mapping[str, object], concept: Concept, prompt: Prompt) -> str | None:
    """The first of its keys that is known; None where no memorised picture is the prompt's."""
    return next((key for key in wanted_keys(concept, prompt) if key in known), None)
