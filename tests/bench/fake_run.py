"""A tiny run without networks: real plan, store, executor and results; pictures and scores from arithmetic.

Run as a script it is a whole run that can be killed: `fake_run.py STORE OUT SECONDS_PER_TASK LOG`.
Every call of the worker is logged as `begin ID` and, when the entry is in the store, `end ID`.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pandas import DataFrame
from pytest import MonkeyPatch

from erasure_bench.bench.cli.commands.work import end_with_parent
from erasure_bench.bench.cli.signals import end_as_by_ctrl_c
from erasure_bench.bench.planning.attacks import ChosenAttack
from erasure_bench.bench.planning.chosen import BASELINE, ChosenEvaluator, ChosenMethod
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Plan, make_plan
from erasure_bench.bench.planning.sizes import ModelSizes
from erasure_bench.bench.planning.tasks import EraseTask, FeatureTask, GenerateTask, ScoreTask, Task
from erasure_bench.bench.reporting.completing import Completed, complete
from erasure_bench.bench.reporting.results import write_results
from erasure_bench.bench.running.board import SharedBoard
from erasure_bench.bench.running.crew import Crew
from erasure_bench.bench.running.events import Events
from erasure_bench.bench.running.executor import Outcome, execute
from erasure_bench.bench.running.job import Job, place_of, read_job, write_job
from erasure_bench.bench.running.journal import journal_of, workers_journal
from erasure_bench.bench.running.kept_features import take_features
from erasure_bench.bench.running.launching import LOG, Ended, Handle, Launcher, Start, ended_with
from erasure_bench.bench.running.pictures import read_pictures, write_png
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.running.scoring import SCORES_FILE
from erasure_bench.bench.running.together import OnlyCounts, Together
from erasure_bench.bench.storage.store import Store
from erasure_bench.evaluators.base import Metric, ScoreSheet, by_role
from erasure_bench.evaluators.registry import build_evaluator
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Protocol, Suite

FORK = multiprocessing.get_context("fork")
METRICS = (
    Metric("brightness", "brightness", "share", (0.0, 1.0), by_role("lower", "higher")),
    Metric("spots", "bright spots", "spots", (0.0, 64.0), by_role("lower"), aggregate="sum"),
    Metric("raw", "raw mean", "level", (0.0, 255.0), {}, headline=False),
)


class FakeModel(NamedTuple):
    name: str = "fake"
    digest: str = "0" * 64
    preset: str | None = None


def tiny_suite(*, prompts: int = 4, own_seeds: bool = False, images_per_prompt: int = 2) -> Suite:
    """Two concepts with their own target and anchor prompts and retention prompts in common."""
    shared = [_prompt(f"keep/{i}", "retention", own_seeds, i) for i in range(prompts)]
    concepts = (
        Concept(name="red ball", kind="object", targets=("red ball",), anchor="ball"),
        Concept(name="Blue Cube", kind="object", targets=("blue cube",), anchor="cube"),
    )
    return Suite(
        name="tiny",
        version="1",
        title="Tiny",
        description="for tests",
        concepts=concepts,
        prompts={
            concept.name: (
                *(_prompt(f"{concept.name}/t{i}", "target", own_seeds, i) for i in range(prompts)),
                *(_prompt(f"{concept.name}/a{i}", "anchor", own_seeds, i) for i in range(prompts)),
                *shared,
            )
            for concept in concepts
        },
        protocol=Protocol(scheduler="ddim", steps=3, guidance_scale=4.0, images_per_prompt=images_per_prompt),
        evaluators=("fake",),
        model="fake",
    )


def _prompt(name: str, role: Any, own_seeds: bool, number: int) -> Prompt:
    return Prompt(
        id=name, text=f"picture of {name}", role=role, subject=name, seed=number * 10 if own_seeds else None
    )


def method(name: str, *, many_concepts: bool = False, **settings: Any) -> ChosenMethod:
    return ChosenMethod(
        name=name,
        preset="official",
        options={},
        settings_class="fake:Fake",
        settings=settings,
        presets=("official",),
        code="c0de",
        many_concepts=many_concepts,
    )


def evaluator(**protocol: Any) -> ChosenEvaluator:
    return ChosenEvaluator(
        name="fake", preset=None, settings={}, options={}, protocol=protocol, metrics=METRICS, code="c0de"
    )


def tiny_plan(
    config: RunConfig | None = None,
    suite: Suite | None = None,
    methods: Iterable[ChosenMethod] | None = None,
    model: Any = None,
    evaluators: Iterable[ChosenEvaluator] | None = None,
    attacks: Iterable[ChosenAttack] = (),
) -> Plan:
    return make_plan(
        config or RunConfig(suite="tiny", methods=("dim",)),
        suite or tiny_suite(),
        model or FakeModel(),
        ModelSizes(resolution=8, multiple=8),
        list(methods or (method(BASELINE), method("dim", strength=0.5))),
        list(evaluators or (evaluator(detector="arithmetic"),)),
        attacks=list(attacks),
    )


def attack(name: str, tries: int, control: str | None = None, **settings: Any) -> ChosenAttack:
    return ChosenAttack(
        name=name,
        preset="official",
        options={},
        settings_class=name,
        settings={"tries": tries, **settings},
        defaults={},
        code="c0de",
        tries=tries,
        control=control,
        chosen_by="its own loss",
    )


class FakeWorker:
    """Draws noise from the picture's seed, darker with a method's `strength`; counts and logs its calls."""

    def __init__(self, store: Store, *, seconds: float = 0.0, log: Path | None = None) -> None:
        self.store, self.seconds, self.log = store, seconds, log
        self.calls: list[str] = []
        self.break_on: Callable[[Task], bool] = lambda task: False
        self.prepared: list[str] = []
        self.forgotten = 0
        self.torch = "2.0"
        self.set_evaluators: dict[str, str] = {}

    def prepare(self, evaluators: Iterable[str]) -> None:
        self.prepared += evaluators

    def forget_model(self) -> None:
        self.forgotten += 1

    def close(self) -> None: ...

    def erase(self, task: EraseTask, concept: Concept, watcher: Any) -> None:
        self._begin(task)
        with self.store.writing(task.kind, task.id) as draft:
            watcher.step(1, 1, 0.0)
            (draft.folder / "edit.json").write_text(str(task.settings.get("strength", 0.0)))
            self._pause()
            draft.about = {"erase_seconds": 2.0, "peak_memory_bytes": 1000}
        self._end(task)

    def generate(self, task: GenerateTask, watcher: Any) -> None:
        self._begin(task)
        strength = float(self.store.entry("erase", task.erase.id).read("edit.json"))
        with self.store.writing(task.kind, task.id) as draft:
            for index, image in enumerate(task.images.images):
                noise = np.random.default_rng(image.seed).random((image.height, image.width, 3))
                write_png(
                    draft.folder / task.file_name(index), (noise * 255 * (1 - strength)).astype(np.uint8)
                )
                self._pause(1 / len(task.images))
            watcher.images(len(task.images))
            draft.about = {
                "generate_seconds": 0.5,
                "device_name": "a test",
                "versions": {"torch": self.torch, "python": "3"},
            }
            if task.attack is not None:
                images = task.images.images
                screened = [task.attack.name == "search" and image.image_index == 1 for image in images]
                draft.about["attack"] = {
                    "tries_losses": [-float(image.image_index) for image in images],
                    "asked": [
                        image.prompt.text if out else "" for image, out in zip(images, screened, strict=True)
                    ],
                    "held_back": sum(screened),
                }
        self._end(task)

    def score(self, task: ScoreTask) -> None:
        self._begin(task)
        pictures = read_pictures(self.store.entry("generate", task.generate.id), task.generate)
        with self.store.writing(task.kind, task.id) as draft:
            sheet = ScoreSheet()
            for picture in pictures:
                mean = float(picture.pixels.mean())
                sheet.add(picture, brightness=mean / 255, spots=float((picture.pixels > 240).sum()), raw=mean)
            sheet.frame().to_parquet(draft.folder / SCORES_FILE, index=False)
            self._pause()
            draft.about = {"evaluator": task.evaluator, "generate": task.generate.id}
        self._end(task)

    def features(self, task: FeatureTask) -> None:
        self._begin(task)
        take_features(self.store, task, build_evaluator(self.set_evaluators[task.evaluator]))
        self._pause()
        self._end(task)

    def _begin(self, task: Task) -> None:
        self.calls.append(task.id)
        self._write(f"begin {task.id}")
        if self.break_on(task):
            raise RuntimeError(f"this {task.kind} task\nis broken")

    def _end(self, task: Task) -> None:
        self._write(f"end {task.id}")

    def _write(self, line: str) -> None:
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{line}\n")

    def _pause(self, share: float = 1.0) -> None:
        if self.seconds:
            time.sleep(self.seconds * share)


def completed(plan: Plan, folder: Path, worker: FakeWorker | None = None) -> Completed:
    """Executes the plan with the store `folder`."""
    with worker.store if worker else Store(folder) as store:
        return complete(plan, worker or FakeWorker(store), store, Quiet)


def run(plan: Plan, folder: Path, out: Path, worker: FakeWorker | None = None) -> tuple[Outcome, DataFrame]:
    """Executes the plan with the store `folder` and writes the results to `out`."""
    store = worker.store if worker else Store(folder)
    outcome, results = completed(plan, folder, worker)
    write_results(out, plan, results, {}, store)
    return outcome, results.evidence.scores


def run_with_crew(
    plan: Plan,
    folder: Path,
    workers: int,
    launcher: Launcher | None = None,
    watch: Any = None,
    **variables: str,
) -> tuple[Outcome, Crew]:
    """A run in `folder` by so many processes of this script, whose environment has the variables."""
    out, path = folder / "out", folder / "store"
    with Store(path) as store, journal_of(out, plan, store) as journal, MonkeyPatch.context() as patch:
        for name, value in {"BENCH_FAKE_LOG": str(folder / "log"), **variables}.items():
            patch.setenv(name, value)
        job = write_job(out, Job.of(plan, path, workers))
        starts = [
            Start(job, number, workers, None, (str(Path(__file__)), "work")) for number in range(workers)
        ]
        reporter = Together((OnlyCounts(journal), *([watch] if watch else [])))
        crew = Crew(plan, store, starts, launcher or Forks(), reporter)
        outcome = crew.do()
        job.unlink()
        outcome, results = complete(plan, FakeWorker(store), store, Quiet, earlier=outcome)
        write_results(out, plan, results, {}, store)
    return outcome, crew


class Forks:
    """Starts workers as forks of this process, which has everything imported: they begin at once."""

    def start(self, worker: Start) -> Handle:
        worker.place.mkdir(parents=True, exist_ok=True)
        process = FORK.Process(target=_forked, args=(worker.words[worker.words.index("work") + 1 :], worker))
        process.start()
        return _Fork(process, worker)

    def close(self) -> None: ...


class _Fork:
    def __init__(self, process: ForkProcess, worker: Start) -> None:
        self.process, self.worker = process, worker

    def ended(self) -> Ended | None:
        code = self.process.exitcode
        return None if code is None else ended_with(code, self.worker.place / LOG)

    def stop(self) -> None:
        self.process.terminate()

    def wait(self) -> None:
        self.process.join()


def _forked(words: list[str], worker: Start) -> None:
    handle = os.open(worker.place / LOG, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(handle, 2)
    sys.stderr = os.fdopen(2, "w", closefd=False)  # not pytest's
    work(words)


def work(words: list[str]) -> None:
    """`bench work` with the fake worker; $BENCH_FAKE_FAULT is what happens to the worker w0."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_as_by_ctrl_c()
    end_with_parent()
    job_file, name, number = Path(words[0]), words[2], int(words[4])
    job, place = read_job(job_file), place_of(job_file, name)
    fault = os.environ.get("BENCH_FAKE_FAULT", "")
    plan = tiny_plan(job.config)
    assert plan.id == job.plan
    with Store(job.store) as store, workers_journal(place, "cpu") as journal:
        worker = FakeWorker(store, seconds=float(os.environ.get("BENCH_FAKE_SECONDS", "0.02")))
        worker.log = Path(os.environ["BENCH_FAKE_LOG"])

        def break_on(task: Task) -> bool:
            mine = name == "w0" and task.kind == "generate"
            if fault == "memory" and mine:
                raise MemoryError("CUDA out of memory")
            poison = fault == "poison" and task.kind == "erase" and task.method == "dim"
            if poison or (fault == "die" and mine and not (place / "died").exists()):
                (place / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "hang" and task.kind == "erase" and task.method == "dim":
                time.sleep(60)
            return fault == "broken" and task.kind == "erase" and task.method == "dim"

        worker.break_on = break_on
        board = SharedBoard(job_file.parent, job.workers, job_file, name)
        start = number / job.workers
        execute(plan, worker, store, Together((journal, Events(place))), board=board, start=start)
        if fault == "linger":
            store.scratch()
            time.sleep(60)


if __name__ == "__main__" and sys.argv[1] == "work":
    work(sys.argv[2:])
elif __name__ == "__main__":
    where, to, seconds, log = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    run(tiny_plan(), where, to, FakeWorker(Store(where), seconds=seconds, log=log))
