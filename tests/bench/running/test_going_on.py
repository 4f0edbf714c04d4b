"""A real worker whose edit is interrupted goes on with it, and one whose memory runs out draws on."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.prepare import Prepared, prepare
from erasure_bench.bench.planning.tasks import EraseTask, GenerateTask
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.storage.store import Store
from erasure_bench.methods.edit import Edit
from erasure_bench.methods.machinery import training
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.zoo import GENERAL_PROMPTS
from erasure_bench.prompt_suites import general
from tests.bench.real_worker import worker_of

STEPS = 6
PREDICT_NOISE = DiffusionModel.predict_noise
OWN_DICE = """
from dataclasses import dataclass

import torch

from erasure_bench.methods.edit import new_edit
from erasure_bench.methods.machinery.training import FineTune


@dataclass(frozen=True, kw_only=True)
class OwnDice:
    steps: int = 6

    def erase(self, model, concepts, context):
        dice = torch.Generator().manual_seed(context.seed)
        with FineTune(model, "xattn", learning_rate=1e-3, steps=self.steps, context=context) as tuning:
            for _ in tuning:
                shift = 1 + torch.rand((), generator=dice)
                tuning.minimise([sum((p - shift).square().sum() for p in tuning.parameters.values())])
        return new_edit(
            "own", self, model, concepts, tensors=tuning.tensors, cost=tuning.cost, losses=tuning.losses
        )
"""


class Watcher(Quiet):
    """Interrupts at a step, if any; remembers what it was told."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.notes: list[str] = []
        self.steps: list[int] = []

    def step(self, step: int, steps: int, loss: float) -> None:
        self.steps.append(step)
        if step == self.at:
            raise KeyboardInterrupt

    def note(self, line: str) -> None:
        self.notes.append(line)


def prepared_run(method: str, model: Path, root: Path, options: dict[str, str]) -> Prepared:
    name = method.rpartition(":")[2]
    return prepared_as(model, root, methods=(method,), method_options={name: options})


def prepared_as(model: Path, root: Path, **fields: Any) -> Prepared:
    config = RunConfig(
        suite="microworld-instances",
        model=str(model),
        concepts=("grumpy-cat",),
        evaluators=("nudity",),
        limit=2,
        device="cpu",
        **fields,
    )
    return prepare(config, root)


def erase_of(prepared: Prepared) -> tuple[EraseTask, Any]:
    cell = prepared.plan.cells[-1]
    return cell.erase, cell.concept


def edit_in(store: Store, task: EraseTask) -> Edit:
    return Edit.load(store.entry("erase", task.id).folder)


def interrupted_and_not(
    method: str, model: Path, root: Path, options: dict[str, str]
) -> tuple[list[Edit], Watcher]:
    """The edit of an undisturbed run, and of one that was interrupted at step 4 and gone on with."""
    edits = []
    for stop in (None, 4):
        with Store(root / f"stop-{stop}") as store:
            prepared = prepared_run(method, model, store.root, options)
            task, concept = erase_of(prepared)
            if stop:
                with pytest.raises(KeyboardInterrupt):
                    worker_of(prepared, store).erase(task, concept, Watcher(stop))
                assert not store.has("erase", task.id) and (store.root / "progress").exists()
            watcher = Watcher()
            worker_of(prepared, store).erase(task, concept, watcher)
            edits.append(edit_in(store, task))
            assert not (store.root / "progress").exists(), "gone when it is done"
    return edits, watcher


def same_bits(edits: list[Edit]) -> bool:
    one, other = edits
    return one.losses == other.losses and all(
        torch.equal(other.tensors[name], tensor) for name, tensor in one.tensors.items()
    )


def test_an_edit_that_was_interrupted_is_gone_on_with(tmp_path: Path, tiny_model_dir: Path) -> None:
    options = {"steps": str(STEPS), "denoise_steps": "2", "trajectories": "2", "scheduler": "ddim"}
    edits, watcher = interrupted_and_not("esd-x", tiny_model_dir, tmp_path, options)
    assert same_bits(edits)
    assert watcher.steps == [3, 4, 5, 6], (
        "what the first step from a checkpoint came to is known before it counts"
    )
    assert watcher.notes == ["goes on from a checkpoint of an interrupted run (training)"]


def test_an_edit_that_does_not_go_on_as_it_had_is_made_from_the_start(
    tmp_path: Path, tiny_model_dir: Path
) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN_DICE)
    edits, watcher = interrupted_and_not(f"{file}:OwnDice", tiny_model_dir, tmp_path, {})
    assert same_bits(edits), "no wrong edit"
    assert watcher.steps == [3, *range(1, STEPS + 1)]
    assert "made from the start: step 3 of 6" in watcher.notes[-1]


@pytest.mark.parametrize("same", [True, False], ids=["as before", "otherwise than before"])
def test_an_attack_that_was_interrupted_is_gone_on_with(
    tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    """Its training keeps checkpoints as often as the run asks for, and is begun anew where it must be."""
    monkeypatch.setitem(general.LISTS, GENERAL_PROMPTS, general.LISTS["microworld"])
    found, watchers = [], []
    for stop in (None, 4):
        with Store(tmp_path / f"stop-{stop}") as store:
            prepared = attacked_run(tiny_model_dir, store.root)
            base, attack = drawn_by(prepared)
            worker = worker_of(prepared, store)
            worker.erase(base.erase, prepared.plan.cells[0].concept, Watcher())
            worker.generate(base, Watcher())
            if stop:
                with pytest.raises(KeyboardInterrupt):
                    worker.generate(attack, Watcher(stop))
                assert not store.has("generate", attack.id) and (store.root / "progress").exists()
                if not same:
                    monkeypatch.setattr(training, "_digest", lambda generator: "another")
            watchers.append(Watcher())
            worker_of(prepared, store).generate(attack, watchers[-1])
            found.append(store.entry("generate", attack.id))
            assert not (store.root / "progress").exists(), "gone when it is done"
    assert watchers[-1].steps == [3, *range(4 if same else 1, STEPS + 1)]
    assert watchers[-1].notes[0] == "goes on from a checkpoint of an interrupted run (training)"
    assert same or "made from the start: step 3 of 6" in watchers[-1].notes[-1]
    one, other = ([entry.read(attack.file_name(index)) for index in range(2)] for entry in found)
    assert one == other


def attacked_run(model: Path, root: Path) -> Prepared:
    return prepared_as(
        model,
        root,
        methods=("negative-prompt",),
        attacks=(f"finetune:{STEPS}",),
        attack_options={"finetune": {"pictures": "2", "learning_rate": "1e-3"}},
    )


def drawn_by(prepared: Prepared) -> tuple[GenerateTask, GenerateTask]:
    """The base model's pictures that the fine-tuning attack is shown, and the attack on the base model."""
    cell = prepared.plan.cells[0]
    attack = next(task for task in cell.assaults if isinstance(task, GenerateTask))
    assert attack.attack is not None
    return attack.attack.shown[0], attack


def test_a_batch_that_does_not_fit_is_remembered_for_the_run(
    tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, watcher = [], Watcher()
    for fits in (32, 1):
        with Store(tmp_path / f"fits-{fits}") as store:
            prepared = prepared_run("negative-prompt", tiny_model_dir, store.root, {})
            worker = worker_of(prepared, store)
            limited = functools.partialmethod(_limited, most=fits)
            monkeypatch.setattr(DiffusionModel, "predict_noise", limited)
            cell = prepared.plan.cells[0]
            worker.erase(cell.erase, cell.concept, watcher)
            drawn: list[GenerateTask] = [task for task in cell.generate if len(task.images) == 2]
            for task in drawn:
                worker.generate(task, watcher)
                entry = store.entry("generate", task.id)
                assert entry.about["batch_size"] == min(fits, 32)
                files = (entry.folder / task.file_name(index) for index in range(2))
                pictures.append([np.asarray(Image.open(file)).astype(int) for file in files])
    assert watcher.notes == ["out of memory with 2 images at once: 1 from here on"], "tried once"
    half = len(pictures) // 2
    assert half > 1
    assert np.abs(np.array(pictures[:half]) - np.array(pictures[half:])).max() <= 1


def _limited(model: DiffusionModel, latents: Any, *rest: Any, most: int) -> Any:
    if len(latents) > 2 * most:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return PREDICT_NOISE(model, latents, *rest)
