"""What one call of the denoiser is asked: what the hooks of an edit know besides the tensors that they see.

Whoever puts several kinds of rows into one call says so with `laid_out`; `DiffusionModel` puts the text
embeddings beside that, and a hook within the network reads both with `asked`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

Role = Literal["unconditional", "conditional", "extra"]
"""What a row is asked for: the unconditional text, the prompt, or a further text of the guidance."""


@dataclass(frozen=True)
class Layout:
    """How the rows of a call belong together: a block of equally many rows for each of `roles`.

    Row i of every block is of picture i. `texts` are the rows' prompts, None where only embeddings are
    known. In sampling the call is the step `index` (from 0) of `steps`; elsewhere both are None.
    """

    roles: tuple[Role, ...] = ("conditional",)
    texts: tuple[str, ...] | None = None
    index: int | None = None
    steps: int | None = None


class Asked(NamedTuple):
    """A call's layout and its text embeddings [rows, tokens, width]."""

    layout: Layout
    embeddings: Tensor

    @property
    def pictures(self) -> int:
        """How many pictures the rows are of."""
        return len(self.embeddings) // len(self.layout.roles)

    def block(self, role: Role) -> slice:
        """The rows of the first block of this role; raises ValueError where there is none."""
        start = self.layout.roles.index(role) * self.pictures
        return slice(start, start + self.pictures)


_layout: ContextVar[Layout | None] = ContextVar("layout", default=None)
_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


@contextmanager
def laid_out(layout: Layout) -> Iterator[None]:
    """The layout of the calls of the denoiser within."""
    token = _layout.set(layout)
    try:
        yield
    finally:
        _layout.reset(token)


@contextmanager
def called_with(embeddings: Tensor, texts: tuple[str, ...] | None = None) -> Iterator[None]:
    """The call that is made within; without a layout from outside every row is a prompt of its own.

    `texts` are the rows' prompts where the call was given as text.
    """
    token = _asked.set(Asked(_layout.get() or Layout(texts=texts), embeddings))
    try:
        yield
    finally:
        _asked.reset(token)


def asked() -> Asked:
    """What the present call is asked. Raises LookupError outside of one."""
    present = _asked.get()
    if present is None:
        raise LookupError("the denoiser is called by DiffusionModel alone")
    return present
