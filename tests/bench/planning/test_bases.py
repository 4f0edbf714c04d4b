"""A table says how its base models were trained, which prompts they cut, and "the same" only where it is."""

import json
import shutil
import subprocess
import sys

import pytest

from erasure_bench.bench.planning.bases import BaseFacts, CutPrompts, base_facts, remarks, sameness
from erasure_bench.models.clip_vocabulary import write_tokenizer
from erasure_bench.models.noise_schedule import noise_schedule
from erasure_bench.models.prompt_lengths import token_counts
from erasure_bench.models.zoo import BUILT_IN, resolve_model
from erasure_bench.prompt_suites.registry import load_suite
from erasure_bench.prompt_suites.suite import Prompt

SD = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
V = {**SD, "prediction_type": "v_prediction"}
ZERO_SNR = {**V, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
WHOLE = CutPrompts(tokens=77, prompts=10, by_role={})


def base(name="sd-v1-4", config=SD, cut=WHOLE):
    return BaseFacts(name=name, schedule=noise_schedule(config), cut=cut)


def prompts(*texts, role="target"):
    return [Prompt(id=f"{role}{n}", text=text, role=role, subject="x") for n, text in enumerate(texts)]


def test_counts_are_those_of_the_models_own_tokenizer(tiny_model, tiny_model_dir):
    texts = ["a cat", "", "a cat and a dog and a cat and a dog", "don't ☕ 123 MIXED  case"]
    expected = [len(tokens) for tokens in tiny_model.tokenizer(texts).input_ids]
    assert token_counts(tiny_model_dir, texts) == expected


def test_a_prompt_is_cut_where_the_model_cuts_it(tiny_model, tiny_model_dir):
    """One word less than is cut changes the embedding, one more does not."""
    words = ["cat"] * 14
    source = resolve_model(str(tiny_model_dir))
    fits, longer = " ".join(words), " ".join([*words, "dog"])
    assert tiny_model.encode_prompts([fits]).equal(tiny_model.encode_prompts([longer]))

    facts = base_facts(source, [*prompts(fits, longer), *prompts(longer, longer, role="implicit")])

    cut = ("target1", "implicit0", "implicit1")
    assert facts.cut == CutPrompts(tokens=16, prompts=4, by_role={"target": 1, "implicit": 2}, ids=cut)
    assert facts.cut.words == (
        "3 of 4 prompts are longer than the text encoder's 16 tokens and are cut there (target 1, "
        "implicit 2: target1, implicit0, implicit1)"
    )
    assert facts.record()["prompts_cut"]["cut"] == 3
    assert facts.record()["prompts_cut"]["ids"] == list(cut)


def test_nothing_is_said_of_plain_stable_diffusion():
    assert remarks((base(), base("mine"))) == ()
    assert sameness((base(), base("mine"))) == sameness(()) == "the same for every method"


def test_training_that_is_not_plain_or_not_the_bases_is_said():
    assert remarks((base("sd-v2-1", V),)) == ("sd-v2-1: v-prediction, as it was trained.",)
    (said,) = remarks((base(), base("sd-v2-1", V)))
    assert said.startswith(
        "sd-v2-1: v-prediction, scaled_linear betas 0.00085–0.012 in 1000 steps, as it was"
    )
    assert "(sd-v1-4: ε-prediction" in said
    (said,) = remarks((base(), base("odd", {**SD, "beta_end": 0.02})))
    assert "0.00085–0.02" in said and "0.00085–0.012" in said


def test_the_protocol_is_called_the_same_only_where_it_is():
    bases = (base(), base("zero", ZERO_SNR))
    assert sameness(bases) == (
        "the same for every method but for the spacing of timesteps (sd-v1-4 leading, zero trailing)"
    )
    assert "zero: v-prediction, zero terminal SNR, trailing spacing" in remarks(bases)[0]


def test_what_a_scheduler_config_asks_for_in_vain_is_said():
    (said,) = remarks((base(config={**SD, "timestep_spacing": "trailing", "thresholding": True}),))
    assert "asks for timestep_spacing trailing, thresholding on, which the protocol decides" in said


def test_cut_prompts_of_a_reference_are_said_where_they_are_others():
    cut = CutPrompts(tokens=32, prompts=10, by_role={"target": 1})
    assert remarks((base(cut=cut), base("same", cut=cut))) == (f"sd-v1-4: {cut.words}.",)
    assert "1 of 10 prompts is longer" in cut.words
    assert remarks((base(), base("other", cut=cut))) == (f"other: {cut.words}.",)


@pytest.mark.usefixtures("microworld")
def test_i2ps_long_prompts_are_counted_for_clips_vocabulary(tmp_path, upstream_data):
    """As transformers' tokenizer has them; open_clip's mends HTML and mojibake first and counts 176."""
    if not (upstream_data / "i2p").is_dir():
        pytest.skip("I2P's files are not at hand (BENCH_DATA)")
    suite = load_suite("i2p", data_dir=upstream_data)
    texts = [prompt.text for prompt in suite.prompts["nudity"]]
    write_tokenizer(tmp_path / "tokenizer", 77)
    assert sum(count > 77 for count in token_counts(tmp_path, texts)) == 178
    assert sum(count > 40 for count in token_counts(BUILT_IN, texts)) == 2564


def test_counting_needs_no_torch(tiny_model_dir, tmp_path):
    copied = shutil.copytree(tiny_model_dir, tmp_path / "model")
    code = (
        "import sys; from pathlib import Path; from erasure_bench.models.prompt_lengths import token_counts; "
        f"print(token_counts(Path({json.dumps(str(copied))}), ['a cat'])); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
