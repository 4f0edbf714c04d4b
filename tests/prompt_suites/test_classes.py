"""Suites of classes: every class is a prompt, the forgotten one a target and the others kept."""

import pytest

from erasure_bench.models.datasets.registry import dataset_card
from erasure_bench.prompt_suites.registry import load_suite, suite_card

SUITES = ("digits-vae", "digits-ddpm", "mnist", "fashion-mnist", "cifar10", "stl10")


@pytest.mark.parametrize("name", SUITES)
def test_the_first_class_is_forgotten_and_every_other_kept(name: str) -> None:
    suite = load_suite(name)
    classes = dataset_card(str(suite.evaluator_options["classifier"]["model"])).classes
    (concept,) = suite.concepts
    prompts = suite.prompts[concept.name]
    assert concept.targets == (classes[0],)
    assert {prompt.text for prompt in prompts if prompt.role == "target"} == {classes[0]}
    kept = [prompt.text for prompt in prompts if prompt.role == "retention"]
    assert set(kept) == set(classes[1:]) and len({kept.count(text) for text in kept}) == 1
    assert all(prompt.label == prompt.text for prompt in prompts)
    assert len({prompt.id for prompt in prompts}) == len(prompts)


def test_each_class_can_be_forgotten() -> None:
    suite = load_suite("digits-vae", options={"forget": "each"})
    assert [concept.name for concept in suite.concepts] == list("0123456789")
    assert {prompt.text for prompt in suite.prompts["7"] if prompt.role == "target"} == {"7"}
    (seven,) = (concept for concept in suite.concepts if concept.name == "7")
    assert (seven.anchor, seven.anchor_label) == ("8", "8")


def test_the_official_counts_and_sampler() -> None:
    """Selective Amnesia: 1000 pictures of the digit, 500 of the class; DDIM 1000, η = 1, w = 2."""
    mnist, cifar = load_suite("mnist"), load_suite("cifar10")
    assert sum(prompt.role == "target" for prompt in mnist.prompts["0"]) == 1000
    assert sum(prompt.role == "target" for prompt in cifar.prompts["airplane"]) == 500
    protocol = cifar.protocol
    assert (protocol.steps, protocol.eta, protocol.guidance_scale) == (1000, 1.0, 3.0)
    assert suite_card("stl10").concepts == ("airplane",)
