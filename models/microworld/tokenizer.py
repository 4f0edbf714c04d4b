"""The built-in model's own BPE vocabulary, in CLIP's byte-level format.

Every byte is in the vocabulary, alone and as a word's last piece, so that a misspelt or unknown
word falls apart into pieces and never into an unknown token.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import CLIPTokenizer

from erasure_bench.models.microworld.settings import TokenizerSettings

START = "<|startoftext|>"
END = "<|endoftext|>"
WORD_END = "</w>"


def train_tokenizer(captions: Iterable[str], settings: TokenizerSettings, folder: Path) -> None:
    """Learn the merges from captions and write a folder that `CLIPTokenizer.from_pretrained` reads."""
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = characters + [c + WORD_END for c in characters]
    clip = CLIPTokenizer().backend_tokenizer  # for its way of cutting text into words
    words = Tokenizer(BPE(end_of_word_suffix=WORD_END))
    words.normalizer = clip.normalizer
    words.pre_tokenizer = clip.pre_tokenizer
    trainer = BpeTrainer(
        vocab_size=settings.vocabulary - 2,
        initial_alphabet=characters,
        end_of_word_suffix=WORD_END,
        min_frequency=20,
        show_progress=False,
    )
    words.train_from_iterator(captions, trainer)
    learnt = json.loads(words.to_str())["model"]["merges"]
    room = settings.vocabulary - 2 - len(pieces)
    merges = [" ".join(pair) for pair in learnt][:room]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    for merge in merges:
        vocabulary.setdefault(merge.replace(" ", ""), len(vocabulary))
    for special in (START, END):
        vocabulary[special] = len(vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(
        vocab=vocabulary,
        merges=[tuple(merge.split(" ")) for merge in merges],
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=settings.length,
    )
    tokenizer.save_pretrained(folder)


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer as diffusers' pipelines load it."""
    return CLIPTokenizer.from_pretrained(folder)


def tokenise(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> Tensor:
    """Token ids [n, length], padded and cut to the tokenizer's length."""
    return tokenizer(
        list(captions),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids


def tokenise_all(tokenizer: CLIPTokenizer, captions: Sequence[Sequence[str]]) -> NDArray[np.int16]:
    """Token ids [n, captions, length] of each picture's captions; equal captions are read once."""
    unique: dict[str, int] = {}
    places = np.array([[unique.setdefault(text, len(unique)) for text in texts] for texts in captions])
    length = tokenizer.model_max_length
    fast = tokenizer.backend_tokenizer  # the list of encodings that CLIPTokenizer makes takes thrice as long
    fast.enable_truncation(length)
    fast.enable_padding(length=length, pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    texts = list(unique)
    ids = np.empty((len(texts), length), np.int16)
    for start in range(0, len(texts), 10_000):
        encoded = fast.encode_batch_fast(texts[start : start + 10_000])
        ids[start : start + len(encoded)] = [each.ids for each in encoded]
    return ids[places]


def keep_tokens(folder: Path, captions: Sequence[Sequence[str]], path: Path) -> None:
    """Write the token ids of all captions, int16 [n, captions, length], for the trainings to map."""
    partial = path.with_name(f"part-{path.name}")
    np.save(partial, tokenise_all(load_tokenizer(folder), captions))
    partial.replace(path)
