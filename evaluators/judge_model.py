"""A vision-language model that is asked one question about each picture and decodes greedily."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import loaded_once
from erasure_bench.evaluators.hub_snapshot import HubSnapshot, folder_of
from erasure_bench.evaluators.packages import required_module, version_of

NEEDED_BY = "judge"
Said = Literal["yes", "no", "idk"]
Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

_AROUND = " \t\r\n\"'`*_.!"
_WORDS: dict[str, Said] = {
    "yes": "yes",
    "no": "no",
    "idk": "idk",
    "i don't know": "idk",
    "i don’t know": "idk",
    "i do not know": "idk",
}


class Answer(NamedTuple):
    """What the model said of one picture.

    `said` is None where the text is none of the three answers. `yes` is P(yes) / (P(yes) + P(no)) of the
    first token and `mass` is P(yes) + P(no): 0 where the tokenizer cannot tell them apart, and `yes` is NaN.
    """

    text: str
    said: Said | None
    yes: float
    mass: float


def read_answer(text: str) -> Said | None:
    """The answer that the text is, apart from case, blanks, quotes and a full stop; None for any other."""
    return _WORDS.get(text.strip(_AROUND).lower())


@dataclass(frozen=True, eq=False)
class JudgeModel:
    """A model with its processor, the tokens that begin a yes and a no, and how it decodes."""

    network: Any
    processor: Any
    yes_tokens: tuple[int, ...]
    no_tokens: tuple[int, ...]

    def ask(self, question: str, tokens: int, pixels: Sequence[Pixels]) -> list[Answer]:
        """An answer of at most `tokens` tokens for each RGB picture; their sizes may differ."""
        import torch
        from PIL import Image

        content = [{"type": "image"}, {"type": "text", "text": question}]
        prompt = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        start = self.processor.tokenizer.bos_token
        given = self.processor(
            text=[prompt] * len(pixels),
            images=[[Image.fromarray(picture)] for picture in pixels],
            padding=True,
            return_tensors="pt",
            # A template that writes the start token itself would have it twice.
            **({"add_special_tokens": False} if start and prompt.startswith(start) else {}),
        ).to(self.network.device, self.network.dtype)
        with torch.inference_mode():
            made = self.network.generate(
                **given,
                max_new_tokens=tokens,
                do_sample=False,
                num_beams=1,
                return_dict_in_generate=True,
                output_logits=True,
            )
        if not all(step.amax(dim=-1).isfinite().all() for step in made.logits):
            raise ValueError("the judge's logits are not finite")
        fresh = made.sequences[:, given["input_ids"].shape[1] :]
        texts = self.processor.tokenizer.batch_decode(fresh, skip_special_tokens=True)
        first = made.logits[0].double().softmax(-1).cpu().numpy()
        return [self._answer(text, row) for text, row in zip(texts, first, strict=True)]

    def _answer(self, text: str, first: np.ndarray[Any, np.dtype[np.float64]]) -> Answer:
        yes, no = float(first[list(self.yes_tokens)].sum()), float(first[list(self.no_tokens)].sum())
        mass = yes + no if self.yes_tokens and self.no_tokens else 0.0
        return Answer(text, read_answer(text), yes / mass if mass > 0 else math.nan, mass)


@loaded_once(1)
def load_judge(place: Path | HubSnapshot, precision: Precision, device: str) -> JudgeModel:
    """The model and processor of a folder of transformers. Raises BenchError in one line."""
    transformers = required_module("transformers", "transformers", NEEDED_BY)
    torch = required_module("torch", "torch", NEEDED_BY)
    folder = folder_of(place, NEEDED_BY)
    own_code = {"local_files_only": True, "trust_remote_code": False}
    try:
        with torch.random.fork_rng(devices=[]):
            processor = transformers.AutoProcessor.from_pretrained(folder, **own_code)
            network = transformers.AutoModelForImageTextToText.from_pretrained(
                folder, dtype=getattr(torch, DTYPES[precision]), **own_code
            )
    except Exception as error:
        raise BenchError(
            f"judge {folder} cannot be loaded as an image-text-to-text model by transformers "
            f"{version_of('transformers')}: {' '.join(str(error).split())[:300]}"
        ) from error
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or not getattr(processor, "chat_template", None):
        raise BenchError(
            f"judge {folder} has no chat template, so that nobody knows how it is asked: name an "
            f"instruction-tuned model (--evaluator-option judge.model=)"
        )
    # What a batch is filled up with stands before the question: the answer follows it in every row.
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    _decode_greedily(network, tokenizer, transformers.GenerationConfig)
    yes, no = (_first_tokens(tokenizer, word) for word in ("yes", "no"))
    return JudgeModel(network.to(device).eval(), processor, tuple(sorted(yes - no)), tuple(sorted(no - yes)))


def _decode_greedily(network: Any, tokenizer: Any, config: Any) -> None:
    """Leaves of a checkpoint's own wishes only where an answer ends: no penalties, no forced words."""
    own = network.generation_config
    ends = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
    network.generation_config = config(
        eos_token_id=ends, pad_token_id=tokenizer.pad_token_id, bos_token_id=own.bos_token_id
    )


def _first_tokens(tokenizer: Any, word: str) -> set[int]:
    """The tokens with which the word may begin, in its usual spellings."""
    found = set()
    for spelling in (word, word.capitalize(), word.upper()):
        for written in (spelling, f" {spelling}"):
            for token in tokenizer.encode(written, add_special_tokens=False):
                begun = tokenizer.decode([token]).strip().lower()
                if begun:  # some tokenizers make a token of the blank alone
                    found |= {token} if word.startswith(begun) else set()
                    break
    return found
