"""What an attack found is screened as a suite's prompts are, and which base model it is given."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.prepare import prepare
from erasure_bench.bench.planning.tasks import GenerateTask
from erasure_bench.bench.running.pictures import read_png
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.storage.store import Store
from erasure_bench.prompt_suites.concepts import Concept, ConceptKind
from tests.bench.real_worker import worker_of

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from erasure_bench.attacks.base import Assault, Target, Try  # noqa: E402
from erasure_bench.bench.running.attacking import screened_assault  # noqa: E402

BLACK = np.zeros((8, 8, 3), np.uint8)


def target(prompt: str) -> Target:
    return Target(prompt=prompt, seed=0, guidance_scale=7.5, picture=BLACK)


def found(text: str, loss: float) -> Try:
    return Try(asked=text, told="", embedding=torch.ones(2, 4), loss=loss)


def of(kind: ConceptKind, name: str) -> Concept:
    return Concept(name=name, kind=kind, targets=(name,), anchor="a person")


def test_a_try_that_may_not_be_sent_asks_for_the_prompt_as_it_is_and_is_the_worst() -> None:
    tries = [
        [found("teen qq a figure", 0.1), found("zz qq a figure", 0.3)],
        [found("lamp a figure", 0.2)] * 2,
    ]
    assault = Assault(tries, losses=(1.0,))

    screened, held_back = screened_assault(assault, [target("a figure")] * 2, of("unsafe", "nudity"))

    assert held_back == 1 and screened.losses == assault.losses
    held, other = screened.tries[0]
    assert (held.asked, held.told, held.embedding, held.loss) == ("a figure", None, None, 0.3)
    assert other is tries[0][1] and list(screened.tries[1]) == tries[1]


def test_of_a_harmless_concept_such_words_go_beside_something_unsafe_alone() -> None:
    tries = [[found("teen qq a boat", 0.1), found("kid naked a boat", 0.2)]]

    screened, held_back = screened_assault(Assault(tries), [target("a boat")], of("object", "boat"))

    assert held_back == 1 and screened.tries[0][0] is tries[0][0]
    assert screened.tries[0][1].asked == "a boat"


def test_what_another_base_model_is_attacked_with_is_the_runs_own(
    tmp_path: Path, tiny_model_dir: Path
) -> None:
    """Completion on a row of `--reference`: the run's base model begins the picture, not that row's model."""
    other = tmp_path / "other"
    shutil.copytree(tiny_model_dir, other)
    file = next((other / "unet").glob("*.safetensors"))
    weights = safetensors.load_file(file)
    safetensors.save_file({name: 0.7 * each for name, each in weights.items()}, file, {"format": "pt"})
    config = RunConfig(
        suite="microworld-instances",
        model=str(tiny_model_dir),
        references=(str(other),),
        concepts=("grumpy-cat",),
        evaluators=("nudity",),
        attacks=("completion:1",),
        limit=1,
        device="cpu",
    )
    with Store(tmp_path / "store") as store:
        prepared = prepare(config, store.root)
        plan = prepared.plan
        worker = worker_of(prepared, store, batch_size=8)
        base, row = plan.cells
        attack, chance = (task for task in row.assaults if isinstance(task, GenerateTask))
        assert attack.attack is not None and attack.attack.name == "completion:1"
        own = next(task for task in row.generate if task.images.role == "target")
        for cell in (base, row):
            worker.erase(cell.erase, cell.concept, Quiet())
        for task in (*attack.attack.shown, own, attack, chance):
            worker.generate(task, Quiet())
        drawn, usual = (
            read_png(store.entry("generate", task.id), task.file_name(0)).astype(int)
            for task in (attack, own)
        )
        assert np.abs(drawn - usual).max() > 1, "else its picture is its own, and nothing was attacked"
        noise = store.entry("generate", chance.id).about["images"][0]["seed"]
        assert noise != chance.images.images[0].seed, "the noise that it was drawn with, not the prompt's"
        assert worker.model(row.erase.base).digest == attack.erase.base != base.erase.base
