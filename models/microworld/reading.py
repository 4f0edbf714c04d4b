"""What a caption says, read off the text encoder: the loss that teaches it what is where, in which colour.

The noise-prediction loss alone hardly tells a text encoder which of two things stands on the left: it
learns to name both and leaves the pictures blends of the two. Asked for the labels outright, it learns
the order within a thousand steps.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from erasure_bench.models.microworld.drawing import HEADS


class Reader(nn.Module):
    """A linear classifier for each oracle head on what the text encoder says after the last word."""

    def __init__(self, width: int, end_token: int) -> None:
        super().__init__()
        self.end_token = end_token
        self.heads = nn.ModuleList(nn.Linear(width, len(labels)) for labels in HEADS.values())

    def forward(self, text: Tensor, tokens: Tensor) -> list[Tensor]:
        """Logits [n, labels] of each head, from token embeddings [n, length, width] of tokens [n, length].

        The embeddings of the end token and of the padding, which is the same token, are averaged.
        """
        after = (tokens == self.end_token).unsqueeze(-1)
        read = (text * after).sum(dim=1) / after.sum(dim=1)
        return [head(read) for head in self.heads]

    def loss(self, text: Tensor, tokens: Tensor, labels: Tensor, said: Tensor | None = None) -> Tensor:
        """The heads' cross-entropies, summed, averaged over the captions; labels [n, heads].

        Only captions that are `said` [n] are asked, if that is given: one that was dropped says nothing.
        """
        each = [
            functional.cross_entropy(logits.float(), asked, reduction="none")
            for logits, asked in zip(self(text, tokens), labels.unbind(dim=1), strict=True)
        ]
        of_captions = torch.stack(each).sum(dim=0)
        if said is None:
            return of_captions.mean()
        return (of_captions * said).sum() / said.sum().clamp(min=1)
