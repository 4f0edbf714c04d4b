"""What a caption says, read off the text encoder: the loss that teaches it what is where, in which colour.

The noise-prediction loss alone hardly tells a text encoder which of two things stands on the left: it
learns to name both and leaves the pictures blends of the two. Asked for the labels outright, it learns
the order within a thousand steps.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel

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

    def loss(self, text: Tensor, tokens: Tensor, labels: Tensor, said: Tensor) -> Tensor:
        """The heads' cross-entropies, summed, averaged over the captions `said` [n]; labels [n, heads].

        A caption that was dropped says nothing, and is not asked.
        """
        each = [
            functional.cross_entropy(logits.float(), asked, reduction="none")
            for logits, asked in zip(self(text, tokens), labels.unbind(dim=1), strict=True)
        ]
        return (torch.stack(each).sum(dim=0) * said).sum() / said.sum().clamp(min=1)


class CaptionReader(nn.Module):
    """A text encoder and its reader, to be trained on captions alone."""

    def __init__(self, text_encoder: CLIPTextModel, reader: Reader) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.reader = reader

    def loss(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """The reader's loss on captions, tokens [n, length], of pictures with labels [n, heads]."""
        text = self.text_encoder(tokens).last_hidden_state
        return self.reader.loss(text, tokens, labels, torch.ones(len(tokens), device=tokens.device))
