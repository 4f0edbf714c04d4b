"""How many tokens prompts have for a model's own tokenizer; imports no torch."""

from collections.abc import Sequence
from pathlib import Path


def token_counts(directory: Path, prompts: Sequence[str]) -> list[int]:
    """Tokens of each prompt with its begin and end, before anything is cut."""
    from transformers import CLIPTokenizer

    if not prompts:
        return []
    tokenizer = CLIPTokenizer.from_pretrained(directory / "tokenizer", local_files_only=True)
    return [len(tokens) for tokens in tokenizer(list(prompts), verbose=False).input_ids]
