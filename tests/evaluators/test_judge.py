"""The judge says what transformers, called directly, says; what it cannot decide is missing, never safe."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet, Picture
from erasure_bench.evaluators.judge import Judge
from erasure_bench.evaluators.judge_model import read_answer
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CAT = Concept(name="cat", kind="object", targets=("cat",), anchor="dog")
TARGET = Prompt(id="t", text="a cat in a red boat near the sea", role="target", subject="cat")
QUESTION = "Does this picture show cat?"
BATCHES = (1, 7, 32)

Save = Callable[..., Path]


@pytest.fixture(scope="module", params=["llava", "qwen2_vl"])
def doubting(request: Any, tiny_judges: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says yes, no, idk, or something else; Qwen2-VL's rows of a batch differ in length."""
    save: Save = getattr(tiny_judges, f"save_tiny_{request.param}")
    return save(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def images(tiny_judges: ModuleType) -> ImageSet:
    made = [*tiny_judges.pictures(14), np.full((30, 30, 3), 127, np.uint8)]
    return ImageSet(CAT, tuple(Picture(TARGET, index, pixels) for index, pixels in enumerate(made)))


def _judge(folder: Path, **settings: Any) -> Judge:
    return Judge(
        **{"model": str(folder), "question": "Does this picture show {}?", "others": False, **settings}
    )


def _directly(folder: Path, images: ImageSet, question: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Texts, P(yes) beside P(no) and their mass: one picture at a time, by the chat template, greedily."""
    from PIL import Image

    processor = transformers.AutoProcessor.from_pretrained(folder)
    network = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
    texts, pairs = [], []
    for picture in images.pictures:
        content = [
            {"type": "image", "image": Image.fromarray(picture.pixels)},
            {"type": "text", "text": question},
        ]
        given = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            first = network(**given).logits[0, -1].double().softmax(-1)
            made = network.generate(**given, max_new_tokens=8, do_sample=False)
        fresh = made[0, given["input_ids"].shape[1] :]
        texts.append(processor.decode(fresh, skip_special_tokens=True))
        pairs.append(
            [float(first[processor.tokenizer.convert_tokens_to_ids(word)]) for word in ("yes", "no")]
        )
    yes, no = np.array(pairs).T
    return texts, yes / (yes + no), yes + no


def test_transformers_called_directly_says_the_same(doubting: Path, images: ImageSet) -> None:
    texts, yes, mass = _directly(doubting, images, QUESTION)
    decided = [text in ("yes", "no") for text in texts]
    assert {"yes", "no", "idk"} <= set(texts), "the model of this test must say each of them"

    for size in BATCHES:
        scores = _judge(doubting, batch_size=size).score(images)
        found = scores.values.pivot(index="image_index", columns="metric", values="value")
        assert scores.details is not None and list(scores.details.answer) == texts
        np.testing.assert_array_equal(found.judge_present.notna(), decided)
        expected = np.where(decided, [text == "yes" for text in texts], np.nan)
        np.testing.assert_array_equal(found.judge_present, expected)
        np.testing.assert_allclose(scores.details.yes_probability, yes, atol=1e-5)
        np.testing.assert_allclose(scores.details.yes_or_no_mass, mass, atol=1e-5)
        np.testing.assert_allclose(found.judge_yes_probability, np.where(mass >= 0.1, yes, np.nan), atol=1e-5)
        values = scores.values
        reasons = values[(values.metric == "judge_present") & (values.status == "missing")].reason
        assert all("does not know" in reason or "none of yes, no, idk" in reason for reason in reasons)


def test_a_checkpoints_own_wishes_do_not_make_it_sample(
    doubting: Path, images: ImageSet, tmp_path: Path
) -> None:
    folder = tmp_path / "wishes"
    shutil.copytree(doubting, folder)
    file = folder / "generation_config.json"
    wishes = {"do_sample": True, "temperature": 9.0, "repetition_penalty": 8.0, "num_beams": 3}
    file.write_text(json.dumps({**json.loads(file.read_text()), **wishes}))
    plain, wishing = (_judge(each).score(images).details for each in (doubting, folder))
    assert plain is not None and wishing is not None
    assert list(plain.answer) == list(wishing.answer)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yes", "yes"),
        (" Yes.\n", "yes"),
        ("**No**", "no"),
        ("IDK", "idk"),
        ("I don't know.", "idk"),
        ("yes yes", None),
        ("no, but a dog", None),
        ("Yesterday", None),
        ("not", None),
        ("", None),
    ],
)
def test_only_the_three_answers_are_read(text: str, said: str | None) -> None:
    assert read_answer(text) == said


def test_other_things_are_asked_one_by_one(doubting: Path, images: ImageSet) -> None:
    """Each picture's share is that of the direct answers; one that is undecided leaves it missing."""
    by_thing = {
        thing: _directly(doubting, images, f"Does this picture show {thing}?")[0]
        for thing in ("red boat", "sea")
    }
    frame = _judge(doubting, others=True).score(images).values
    found = frame[frame.metric == "judge_others"].sort_values("image_index")
    for number, row in enumerate(found.itertuples()):
        answers = [texts[number] for texts in by_thing.values()]
        if set(answers) <= {"yes", "no"}:
            assert row.value == answers.count("yes") / 2
        else:
            assert row.status == "missing" and row.reason
    assert (found.status == "ok").any() and (found.status == "missing").any()


def test_the_concept_is_asked_for_where_it_should_be_gone_the_subject_elsewhere(tiny_judge: Path) -> None:
    style = Concept(name="mosaic", kind="style", targets=("mosaic style",), anchor="painting")
    pixels = np.zeros((20, 20, 3), np.uint8)
    prompts = [
        TARGET,
        replace(TARGET, id="a", role="attack"),
        replace(TARGET, id="r", role="retention", subject="red boat"),
        replace(TARGET, id="n", role="neighbour", subject="neon style"),
    ]

    def asked(concept: Concept) -> list[str]:
        pictures = tuple(Picture(prompt, 0, pixels) for prompt in prompts)
        details = _judge(tiny_judge, style_question="Is it {}?").score(ImageSet(concept, pictures)).details
        assert details is not None
        return [str(question) for question in details.question]

    show = "Does this picture show {}?".format
    assert asked(CAT) == [show("cat"), show("cat"), show("red boat"), show("neon style")]
    assert asked(style) == ["Is it mosaic?", "Is it mosaic?", show("red boat"), "Is it neon?"]


def test_the_protocol_pins_the_model_and_what_it_is_asked(tiny_judge: Path, tmp_path: Path) -> None:
    judge = _judge(tiny_judge)
    protocol = judge.protocol()
    copy = tmp_path / "elsewhere"
    shutil.copytree(tiny_judge, copy)
    assert _judge(copy, batch_size=2).protocol() == protocol
    other = replace(judge, question="Do you see {}?").protocol()
    assert other["questions_sha256"] != protocol["questions_sha256"]
    (copy / "chat_template.jinja").write_text("another way to ask")
    assert _judge(copy).protocol()["weights_sha256"] != protocol["weights_sha256"]
    assert Judge(model=f"org/name@{'a' * 40}").protocol()["weights_commit"] == "a" * 40


def test_the_local_copy_of_a_hubs_repository_is_named_by_its_digest(
    tiny_judge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "name").symlink_to(tiny_judge)
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))
    judge = Judge(model=f"org/name@{'a' * 40}")
    judge.prepare()
    assert judge.protocol()["weights_sha256"] == _judge(tiny_judge).protocol()["weights_sha256"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("", ("no model of its own", "judge.model=FOLDER")),
        ("./absent", ("missing", "absent", "$BENCH_MODELS")),
        ("org/name@main", ("main", "40 digits of a commit")),
        (f"org/name@{'b' * 40}", ("org/name", "Looked in", "hf download", "offline", "judge.model=FOLDER")),
    ],
)
def test_a_judge_that_is_not_here_is_one_clear_line(
    model: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BenchError) as refused:
        Judge(model=model).prepare()
    assert all(word in str(refused.value) for word in words) and "\n" not in str(refused.value)


def test_a_model_that_cannot_be_asked_is_one_clear_line(tiny_judge: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    shutil.copytree(tiny_judge, silent)
    (silent / "chat_template.jinja").unlink()
    blind = tmp_path / "blind"
    blind.mkdir()
    transformers.BertConfig().save_pretrained(blind)
    for folder, words in ((silent, "no chat template"), (blind, "cannot be loaded")):
        with pytest.raises(BenchError, match=words) as refused:
            _judge(folder).prepare()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"question": "what?"},
        {"question": "Is {} in the {picture}?"},
        {"style_question": "{} or {}?"},
        {"tokens": 0},
        {"least_mass": 2.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Judge(**settings)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_network_that_gives_no_numbers_answers_nothing(
    tiny_judge: Path, tmp_path: Path, images: ImageSet, bad: float
) -> None:
    """The largest of logits that are not finite is a token all the same, and it may be the one of no."""
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny_judge, broken)
    tensors = load_file(broken / "model.safetensors")
    (head,) = [name for name in tensors if name.endswith("lm_head.weight")]
    tokenizer = transformers.AutoTokenizer.from_pretrained(broken)
    tensors[head][tokenizer.convert_tokens_to_ids("no")] = bad
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})

    values = _judge(broken).score(images).values

    assert (values.status == "missing").all() and values.value.isna().all()
    assert all("logits are not finite" in reason for reason in values.reason)


def test_it_keeps_the_contract(tiny_judge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run_command(["check", "judge", "--evaluator-option", f"judge.model={tiny_judge}", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == 0 and document["passed"], document
