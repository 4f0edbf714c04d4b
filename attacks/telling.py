"""What an edit that reads prompts is told while an attack searches: the text that its picture is drawn with.

A gate or a projection that reads the text would else do in the search what it does nowhere else, and a search
would find what helps against another network than the one that draws.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from erasure_bench.models.asking import Layout, laid_out


def telling(texts: Sequence[str]) -> AbstractContextManager[None]:
    """The calls of the denoiser within are asked for these prompts, row by row."""
    return laid_out(Layout(texts=tuple(texts)))
