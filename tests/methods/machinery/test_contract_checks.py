"""Every check of the contract can fail: methods that each break one promise, and what is said of them."""

import pytest
import torch

from erasure_bench.methods.machinery.contract import CHECKS, check_contract
from erasure_bench.methods.machinery.rehearsal import Rehearsal, Trial
from erasure_bench.models.weights import changed_tensors, snapshot
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
DOG = Concept(name="dog", kind="instance", targets=("pirate dog",), anchor="dog")

METHODS = '''
import dataclasses
import random
from dataclasses import dataclass

import numpy
import torch

from erasure_bench.methods.base import MethodCard, Progress
from erasure_bench.methods.machinery.cost import Cost
from erasure_bench.methods.machinery.training import FineTune
from erasure_bench.methods.edit import Edit, new_edit
from erasure_bench.models.guidance import Guided
from erasure_bench.errors import BenchError

NAME = "unet.conv_out.weight"


@dataclass(frozen=True, kw_only=True)
class Good:
    """Makes one layer louder by a factor that the seed decides."""

    def erase(self, model, concepts, context):
        return self.made(model, concepts, context, self.factor(model, context))

    def factor(self, model, context):
        return 1 + torch.rand((), generator=torch.Generator().manual_seed(context.seed))

    def made(self, model, concepts, context, factor, **how):
        context.report(Progress(1, 1, 0.5))
        tensors = {NAME: model.named_tensors()[NAME].detach() * factor}
        how = {"tensors": tensors, "cost": Cost(1.0, 1, 1), "losses": (0.5,)} | how
        return new_edit("good", self, model, concepts, **how)


@dataclass(frozen=True)
class Loud:
    """Guidance of the file's own."""

    unconditional_text: str = ""
    texts: tuple[str, ...] = ()

    def combine(self, step, state=None):
        return Guided(step.unconditional * 1.1)


class OwnGuidance(Good):
    def made(self, model, concepts, context, factor):
        return new_edit("good", self, model, concepts, guidance=Loud())


class Crashes(Good):
    def factor(self, model, context):
        raise ValueError("no\\nluck")


class GivesNothing(Good):
    def made(self, *anything):
        return None


class NamesNobody(Good):
    def made(self, *anything):
        return dataclasses.replace(super().made(*anything), concepts=("somebody",))


class OtherBase(Good):
    def made(self, *anything):
        return dataclasses.replace(super().made(*anything), base_digest="0" * 64)


class LeavesWeights(Good):
    def factor(self, model, context):
        with torch.no_grad():
            model.parts["vae"].decoder.conv_out.bias.add_(1)
        return super().factor(model, context)


class LeavesGradients(Good):
    def factor(self, model, context):
        model.named_tensors()[NAME].requires_grad_(True)
        return super().factor(model, context)


class LeavesTrainingMode(Good):
    def factor(self, model, context):
        model.unet.train()
        return super().factor(model, context)


class LeavesHook(Good):
    def factor(self, model, context):
        model.unet.conv_out.register_forward_hook(lambda module, args, output: output * 2)
        return super().factor(model, context)


class DrawsFromTorch(Good):
    def factor(self, model, context):
        return 1 + context.seed + torch.rand(())


class DrawsFromNumpy(Good):
    def factor(self, model, context):
        numpy.random.rand()
        return super().factor(model, context)


class DrawsFromPython(Good):
    def factor(self, model, context):
        random.random()
        return super().factor(model, context)


class SeedsTorch(Good):
    def factor(self, model, context):
        torch.manual_seed(context.seed)
        return super().factor(model, context)


class Unrepeatable(Good):
    def factor(self, model, context):
        generator = torch.Generator()
        generator.seed()
        return 1 + torch.rand((), generator=generator)


class IgnoresSeed(Good):
    def factor(self, model, context):
        return 1.5


class KeepsWithoutTheSeed(Good):
    def factor(self, model, context):
        make = super().factor
        return context.cache.fetch(__name__, {"of": NAME}, lambda: {"it": make(model, context)})["it"]


class Infinite(Good):
    def made(self, model, concepts, context, factor):
        bias = torch.full_like(model.named_tensors()["unet.conv_out.bias"], float("inf"))
        return super().made(model, concepts, context, factor, tensors={"unet.conv_out.bias": bias * factor})


class Free(Good):
    def made(self, *anything):
        return super().made(*anything, cost=Cost(steps=1))


class MiscountsSteps(Good):
    def made(self, *anything):
        return super().made(*anything, cost=Cost(1.0, 1, 2))


class Silent(Good):
    def erase(self, model, concepts, context):
        return super().erase(model, concepts, dataclasses.replace(context, report=lambda progress: None))


class CannotBeSaved(Good):
    def made(self, model, concepts, context, factor):
        class Hidden(Loud):
            pass

        return new_edit("good", self, model, concepts, guidance=Hidden())


class LosesPrecision(Good):
    """Its settings are no JSON values, so that they come back as other ones."""

    def made(self, *anything):
        return dataclasses.replace(super().made(*anything), settings={"pair": (1, 2)})


class DoesNothing(Good):
    def made(self, model, concepts, context, factor):
        return new_edit("good", self, model, concepts)


class Careless(Good):
    def made(self, model, concepts, *anything):
        concepts[0]
        return super().made(model, concepts, *anything)


class AcceptsNothing(Good):
    def made(self, model, concepts, *anything):
        return super().made(model, concepts, *anything) if concepts else None


class Chatty(Good):
    def made(self, model, concepts, *anything):
        if not concepts:
            raise BenchError("what is\\nthere to erase?")
        return super().made(model, concepts, *anything)


class OnlyTheFirst(Good):
    def made(self, model, concepts, *anything):
        return super().made(model, concepts[:1], *anything)


class SaysThatTheSeedDoesNothing(Good):
    def uses_seed(self):
        return False


class IsTheSameWhateverTheSeed(SaysThatTheSeedDoesNothing):
    def factor(self, model, context):
        return torch.tensor(1.5)


class Trains(Good):
    def dice(self, tuning):
        return tuning.generator

    def made(self, model, concepts, context, factor):
        with FineTune(model, "xattn", learning_rate=1e-3, steps=6, context=context) as tuning:
            dice = self.dice(tuning)
            for _ in tuning:
                shift = 1 + torch.rand((), generator=dice)
                tuning.minimise([sum((p - shift).square().sum() for p in tuning.parameters.values())])
        return new_edit(
            "trains", self, model, concepts, tensors=tuning.tensors, cost=tuning.cost, losses=tuning.losses
        )


class TrainsByItsOwnDice(Trains):
    def dice(self, tuning):
        return torch.Generator().manual_seed(tuning.context.seed)


def card(build):
    return MethodCard(name="it", title="It", paper="", formula="", build=build, many_concepts=True)


SEVERAL, FIRST = card(Good), card(OnlyTheFirst)
'''

RUNS, BASE, GLOBAL, FINITE, COST, STEPS, SAME, OTHER, GOES_ON, DISK, PICTURE, SEVERAL, MISTAKES = CHECKS
TRAINS_NOTHING = {STEPS, OTHER, GOES_ON}


@pytest.fixture
def check(tiny_model, tmp_path):
    (tmp_path / "broken.py").write_text(METHODS)

    def run(name):
        trial = Trial(
            method=f"{tmp_path}/broken.py:{name}",
            model=tiny_model,
            concepts=(CAT, DOG),
            prompt="a grumpy cat",
        )
        return {check.name: check for check in check_contract(Rehearsal(trial))}

    return run


@pytest.mark.parametrize(
    ("name", "skipped"),
    [("Good", {GOES_ON, SEVERAL}), ("SEVERAL", {GOES_ON}), ("Trains", {SEVERAL})]
    + [("IsTheSameWhateverTheSeed", {GOES_ON, SEVERAL})],
)
def test_a_method_that_keeps_every_promise_passes_and_leaves_no_trace(check, tiny_model, name, skipped):
    before, state = snapshot(tiny_model), torch.random.get_rng_state()
    checks = check(name)

    assert {each.name for each in checks.values() if each.verdict != "ok"} == skipped
    assert not changed_tensors(before, tiny_model.named_tensors())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_who_watches_is_told_of_every_step(tiny_model, tmp_path):
    (tmp_path / "broken.py").write_text(METHODS)
    told = []
    trial = Trial(
        method=f"{tmp_path}/broken.py:Trains",
        model=tiny_model,
        concepts=(CAT,),
        prompt="a grumpy cat",
        watch=lambda *news: told.append(news),
    )
    steps = len(Rehearsal(trial).first.edit.losses)
    assert told == [(step, steps, "steps") for step in range(1, steps + 1)]


def test_guidance_that_a_file_defines_can_be_kept(check):
    checks = check("OwnGuidance")
    assert {each.name for each in checks.values() if each.verdict != "ok"} == TRAINS_NOTHING | {SEVERAL}


@pytest.mark.parametrize("name", ["Crashes", "GivesNothing", "NamesNobody", "OtherBase"])
def test_nothing_else_is_tried_on_a_method_that_does_not_run(check, name):
    checks = check(name)
    assert checks.keys() == CHECKS.keys()
    assert checks.pop(RUNS).verdict == "failed"
    assert {each.verdict for each in checks.values()} == {"skipped"}


def test_an_exception_is_told_in_one_line_with_its_own_line_number(check):
    line = 1 + METHODS.splitlines().index('        raise ValueError("no\\nluck")')
    assert check("Crashes")[RUNS].why == f"line {line}: ValueError: no luck"


@pytest.mark.parametrize(
    ("name", "failed", "why"),
    [
        ("LeavesWeights", {BASE}, "vae.decoder.conv_out.bias"),
        ("LeavesGradients", {BASE}, "unet.conv_out.weight: asks for gradients"),
        ("LeavesTrainingMode", {BASE}, "unet: training"),
        ("LeavesHook", {BASE}, "unet.conv_out: forward hooks"),
        ("DrawsFromTorch", {GLOBAL, SAME}, "torch"),
        ("DrawsFromNumpy", {GLOBAL}, "numpy"),
        ("DrawsFromPython", {GLOBAL}, "Python"),
        ("SeedsTorch", {GLOBAL}, "torch"),
        ("Unrepeatable", {SAME}, "unet.conv_out.weight"),
        ("IgnoresSeed", {OTHER}, "context.seed"),
        ("KeepsWithoutTheSeed", {OTHER}, "context.seed"),
        ("SaysThatTheSeedDoesNothing", {OTHER}, "uses_seed"),
        ("TrainsByItsOwnDice", {GOES_ON}, "its generator"),
        ("Infinite", {FINITE, DISK, PICTURE, OTHER}, "unet.conv_out.bias"),
        ("Free", {COST}, "seconds"),
        ("MiscountsSteps", {COST}, "2 steps"),
        ("Silent", {STEPS}, "context.report"),
        ("CannotBeSaved", {DISK, SAME}, "cannot be saved"),
        ("LosesPrecision", {DISK}, "settings"),
        ("DoesNothing", {PICTURE}, "same as without"),
        ("Careless", {MISTAKES}, "IndexError"),
        ("AcceptsNothing", {MISTAKES}, "no concept is accepted"),
        ("Chatty", {MISTAKES}, "one line"),
        ("FIRST", {SEVERAL}, "not ('cat', 'dog')"),
    ],
)
def test_a_broken_promise_is_found_and_named(check, name, failed, why):
    checks = check(name)
    broken = {each.name: each.why for each in checks.values() if each.verdict == "failed"}
    assert broken.keys() == failed, broken
    assert any(why in said for said in broken.values())
    assert not any("\n" in said for said in broken.values())


def test_a_global_seed_is_seen_where_the_process_had_the_same_one(check):
    before = torch.random.get_rng_state()
    try:
        torch.manual_seed(0)
        assert check("SeedsTorch")[GLOBAL].verdict == "failed"
    finally:
        torch.random.set_rng_state(before)
