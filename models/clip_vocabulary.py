"""CLIP's own tokenizer in transformers' files, made from the list of merges that open_clip ships."""

import gzip
import json
from importlib.util import find_spec
from pathlib import Path

from erasure_bench.errors import BenchError

VOCABULARY_SIZE = 49408
MERGES_FILE = "bpe_simple_vocab_16e6.txt.gz"
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"


def write_tokenizer(folder: Path, length: int) -> None:
    """Writes vocab.json, merges.txt and the settings of a tokenizer that pads and cuts to `length` tokens.

    Raises BenchError where open_clip is not installed, which brings the list of merges.
    """
    letters = _byte_letters()
    merges = _merges(VOCABULARY_SIZE - 2 * len(letters) - 2)
    words = [*letters, *(letter + END_OF_WORD for letter in letters)]
    words += [left + right for left, right in (merge.split() for merge in merges)]
    words += [BEGIN, END]
    folder.mkdir()
    vocabulary = {word: token for token, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": length,
        "bos_token": BEGIN,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _merges(count: int) -> list[str]:
    found = find_spec("open_clip")
    if found is None or found.origin is None:
        raise BenchError(
            "a single-file checkpoint holds no tokenizer, and CLIP's own comes with open_clip: pip install "
            "open_clip_torch, or --model with a pipeline folder"
        )
    with gzip.open(Path(found.origin).parent / MERGES_FILE, "rt", encoding="utf-8") as file:
        return file.read().split("\n")[1 : count + 1]


def _byte_letters() -> list[str]:
    """A letter for each of the 256 bytes, in the order of CLIP's vocabulary: printable ones first."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(others)]
