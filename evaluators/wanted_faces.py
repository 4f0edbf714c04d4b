"""Whose face a prompt asks for."""

import re
import unicodedata

from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import ERASED_ROLES, Prompt


def wanted_names(concept: Concept, prompt: Prompt) -> tuple[str, ...]:
    """What the face is called, the likeliest first.

    On erased roles it is the concept's label and name, before them the prompt's own label where the concept
    has none, as one of many celebrities has not; elsewhere it is the prompt's own label and subject.
    """
    own = (prompt.label, prompt.subject)
    if prompt.role not in ERASED_ROLES:
        return _given(*own)
    return _given(concept.label, *([] if concept.label else own), concept.name, *concept.targets)


def plain_name(name: str) -> str:
    """The name as it is compared: `Brad_Pitt_[m.0c6qh]` and `brad pitt` are the same."""
    text = unicodedata.normalize("NFKD", re.sub(r"_?\[[^\]]*\]$", "", name)).replace("_", " ")
    return " ".join("".join(sign for sign in text if not unicodedata.combining(sign)).casefold().split())


def _given(*names: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))
