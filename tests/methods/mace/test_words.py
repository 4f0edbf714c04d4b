"""What a prompt and its twin share is found token for token; the rest is the concept's own."""

import pytest

from erasure_bench.methods.mace.words import Alike, own_tokens, places
from erasure_bench.models.tiny import TOKENS, tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def said(tokenizer, text):
    return tokenizer(text, truncation=True, max_length=TOKENS, padding="max_length").input_ids


PAIRS = [
    ("a sad cat at b", "a cat at b", "sad"),
    ("a boat", "a cat", "boat"),
    ("a dog as art", "a dog", "as art"),
    ("neon dog", "dog", "neon"),
    ("cat cat", "cat", "cat"),
    ("the end", "a cat, a", "the end"),
]


@pytest.mark.parametrize(("prompt", "twin", "own"), PAIRS)
@pytest.mark.parametrize("padded", [False, True])
def test_equal_tokens_are_paired_and_the_rest_is_the_concepts(tokenizer, prompt, twin, own, padded):
    alike = Alike.of(tokenizer, prompt, twin)
    mine, its = alike.places(TOKENS if padded else None)
    ids, twins = said(tokenizer, prompt), said(tokenizer, twin)
    assert [ids[place] for place in mine] == [twins[place] for place in its]
    assert ids[alike.words] == own_tokens(tokenizer, own)
    assert mine[0] == its[0] == 0, "the start token"
    ours = set(range(*alike.words.indices(TOKENS)))
    assert ours.isdisjoint(mine)
    end = 1 + len(own_tokens(tokenizer, prompt))
    assert ours | set(mine) >= set(range(end))
    if padded:
        # as many tokens of the end and the padding as the longer of the two has
        assert max(mine[-1], its[-1]) == TOKENS - 1 and end in mine
    else:
        assert end not in mine


def test_what_was_cut_off_is_not_paired(tokenizer):
    prompt, twin = "a sad and mad cat on it", "a cat on it"
    alike = Alike.of(tokenizer, prompt, twin)
    mine, its = alike.places(TOKENS)
    ids, twins = said(tokenizer, prompt), said(tokenizer, twin)
    assert [ids[place] for place in mine] == [twins[place] for place in its]
    assert max(*mine, *its) < TOKENS


@pytest.mark.parametrize("twin", ["a cat", "a sad cat"])
def test_a_prompt_that_adds_nothing_has_all_of_its_words(tokenizer, twin):
    alike = Alike.of(tokenizer, "a cat", twin)
    assert said(tokenizer, "a cat")[alike.words] == own_tokens(tokenizer, "a cat")


def test_places_are_true_in_the_slice():
    assert places(slice(1, 3), 5).tolist() == [False, True, True, False, False]
