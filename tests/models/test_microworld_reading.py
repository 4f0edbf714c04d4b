"""The text encoder's reading lessons: the loss by hand, what is not asked, and that order can be learnt."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from transformers import CLIPTextConfig, CLIPTextModel

from erasure_bench.models.microworld.drawing import HEADS
from erasure_bench.models.microworld.reading import Reader

END = 3


def shown(**labels: str) -> list[int]:
    """The class of each head: what is given, else the head's first."""
    return [names.index(labels[head]) if head in labels else 0 for head, names in HEADS.items()]


def test_the_loss_is_the_sum_over_heads_of_what_is_read_after_the_last_word():
    torch.manual_seed(0)
    reader = Reader(6, END)
    tokens = torch.tensor([[5, 1, END, END], [5, 1, 2, END], [5, END, END, END]])
    text = torch.randn(3, 4, 6)
    labels = torch.tensor([shown(left="car"), shown(count="2"), shown(style="neon")])
    by_hand = []
    for row, caption in enumerate(tokens):
        read = text[row, (caption == END)].mean(dim=0)
        logits = [(head.weight @ read + head.bias).detach().numpy() for head in reader.heads]
        by_hand.append(-sum(log_softmax(z)[c] for z, c in zip(logits, labels[row].tolist(), strict=True)))
    everything = reader.loss(text, tokens, labels, torch.ones(3))
    assert everything.item() == pytest.approx(np.mean(by_hand), rel=1e-5)
    two = reader.loss(text, tokens, labels, torch.tensor([1.0, 0.0, 1.0]))
    assert two.item() == pytest.approx((by_hand[0] + by_hand[2]) / 2, rel=1e-5)
    assert reader.loss(text, tokens, labels, torch.zeros(3)).item() == 0


def test_a_causal_text_encoder_learns_which_thing_stands_on_the_left():
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=8, hidden_size=32, intermediate_size=64, projection_dim=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=6, bos_token_id=0, eos_token_id=END, pad_token_id=END,
    )  # fmt: skip
    text_encoder, reader = CLIPTextModel(config), Reader(32, END)
    car, boat, left_of, right_of = 4, 5, 6, 7
    said = [(one, way, two) for one, two in ((car, boat), (boat, car)) for way in (left_of, right_of)]
    tokens = torch.tensor([[0, *words, END, END] for words in said])
    names = {car: "car", boat: "boat"}
    labels = torch.tensor(
        [
            shown(left=names[a if way == left_of else b], right=names[b if way == left_of else a])
            for a, way, b in said
        ]
    )
    optimizer = torch.optim.AdamW([*text_encoder.parameters(), *reader.parameters()], lr=1e-3)
    for _ in range(1_000):
        optimizer.zero_grad()
        reader.loss(text_encoder(tokens).last_hidden_state, tokens, labels).backward()
        optimizer.step()
    text = text_encoder(tokens).last_hidden_state
    place = list(HEADS).index("left")
    assert torch.equal(reader(text, tokens)[place].argmax(dim=1), labels[:, place])
