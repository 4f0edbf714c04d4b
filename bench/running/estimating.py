"""How long what is left will take: each kind of work for itself, each shared thing once.

Kinds are: what edits share (pictures and Fisher samples, by the denoiser's passes), the edits of a method
with its settings, pictures drawn with a method's guidance, scores of an evaluator. A kind that has not
been measured, in this run or an earlier one on this machine, is estimated by the passes that it takes,
where it says how many; else it is left out, and named.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.planning.devices import pick_device
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.tasks import EraseTask, FeatureTask, GenerateTask, ScoreTask, Task, TaskKind
from erasure_bench.bench.running.needs import STEPS, Needs, made_for_themselves, needs_of_plan
from erasure_bench.bench.running.paces import Paces, paces_file
from erasure_bench.bench.running.versions import device_name
from erasure_bench.bench.storage.store import Store

NATIVE_PIXELS = 512 * 512
GUIDED = 2
"""Passes of a sampling step: with and without the prompt."""


class Left(NamedTuple):
    """Seconds of what is left, by kind of task, and what of it nobody can tell: methods and evaluators."""

    seconds: dict[TaskKind, float]
    unknown: tuple[str, ...]

    @property
    def total(self) -> float:
        """All seconds that are known of."""
        return sum(self.seconds.values())

    @property
    def told(self) -> float | None:
        """`total`, None where all that takes any time is unknown."""
        return self.total if self.total or not self.unknown else None


class _Work(NamedTuple):
    """So many units of one kind; `passes` is what one takes, None where that is not known."""

    task: TaskKind
    pace: str
    size: float
    passes: float | None
    by: str
    unit: str = ""


@dataclass
class _Current:
    """The task at hand: its works, when it began, and what is done of them."""

    task: Task
    works: tuple[_Work, ...]
    began: float
    last: float
    shared: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    shared_seconds: float = 0.0
    unit: str = ""
    done: float = 0.0
    total: float = 0.0
    first: float = 0.0
    since: float = 0.0


class Estimator:
    """Told of everything that happens, it says what is left of `todo`.

    `needs` are what erase tasks make for themselves, `resolution` the side of the model's own pictures.
    """

    def __init__(
        self,
        todo: Sequence[Task] = (),
        needs: Needs | None = None,
        paces: Paces | None = None,
        *,
        resolution: int = 512,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.paces = paces or Paces()
        self.clock = clock
        self.total, self.done = len(todo), 0
        self._needs = needs or {}
        self._native = resolution**2 / NATIVE_PIXELS
        self._works = {task.id: tuple(self._works_of(task)) for task in todo}
        self._left: defaultdict[_Work, float] = defaultdict(float)
        for works in self._works.values():
            for work in works:
                self._left[work._replace(size=1.0)] += work.size
        self._taken: set[str] = set()
        self._ended: set[str] = set()
        self._current: _Current | None = None

    @property
    def own_making(self) -> dict[str, int]:
        """How many pictures and Fisher samples the methods make for themselves, by unit."""
        return made_for_themselves(self._needs)

    @property
    def images_per_second(self) -> float | None:
        """Of the pictures that are being drawn; None while none are."""
        at = self._current
        if at is None or not isinstance(at.task, GenerateTask) or not at.done:
            return None
        return at.done / max(at.last - (at.since or at.began), 1e-9)

    @property
    def images_done(self) -> tuple[int, int]:
        """Pictures of the task at hand: drawn, and in all."""
        at = self._current
        if at is None:
            return 0, 0
        return int(at.done), len(at.task.images) if isinstance(at.task, GenerateTask) else 0

    @property
    def part_left(self) -> float | None:
        """Seconds that are left of what `part` told last; None before there is a pace."""
        at = self._current
        if at is None or at.done <= at.first:
            return None
        return (at.last - at.since) / (at.done - at.first) * (at.total - at.done)

    def started(self, task: Task) -> None:
        """A task begins."""
        now = self.clock()
        self._current = _Current(task, self._take(task), now, now)

    def skipped(self, task: Task) -> None:
        """A task is not done at all, as something that it needs has failed."""
        self._take(task)
        self.done += 1

    def aside(self, seconds: float) -> None:
        """So much of the task's time went into what is no part of it: the model was loaded."""
        if self._current is not None:
            self._current.began += seconds
            self._current.last += seconds

    def part(self, done: float, total: float, unit: str) -> None:
        """So much is done of pictures, Fisher samples or steps of the task."""
        at = self._current
        if at is None:
            return
        now = self.clock()
        if (unit, total) != (at.unit, at.total) or done < at.done:
            at.unit, at.total, at.done = unit, total, 0.0
            at.first, at.since = done, now
        work = next((one for one in at.works if one.unit == unit), None)
        if unit != STEPS and work is not None:
            self.paces.measured(work.pace, now - at.last, (done - at.done) * (work.passes or 1.0))
            at.shared_seconds += now - at.last
            at.shared[work.pace] += done - at.done
        at.done, at.last = done, now

    def images(self, count: int) -> None:
        """So many pictures more are drawn."""
        if (at := self._current) is not None:
            if at.unit == STEPS:  # an attack has searched, and now draws
                at.unit, at.done, at.first, at.since = "", 0.0, 0.0, at.last
            at.done += count
            at.last = self.clock()

    def finished(self, *, well: bool = True) -> None:
        """The task at hand ended; only one that ended well says how long its kind takes."""
        at = self._current
        self.done += 1
        self._current = None
        if at is not None:
            self._ended.add(at.task.id)
        if at is None or not well:
            return
        seconds = self.clock() - at.began - at.shared_seconds
        own = [work for work in at.works if not work.unit]  # what is shared was measured by its parts
        whole = sum(work.size * (work.passes or 0.0) for work in own)
        for work in own:
            if isinstance(at.task, GenerateTask) and work.passes is not None:
                share = seconds * work.size * work.passes / whole
                self.paces.measured(work.pace, share, work.size)
                self.paces.measured(_pass(work), share, work.size * work.passes)
            else:
                self.paces.measured(work.pace, seconds, work.size)

    def left(self) -> Left:
        """What is left, the rest of the task at hand included."""
        seconds: defaultdict[TaskKind, float] = defaultdict(float)
        unknown: dict[str, None] = {}
        for work, size in self._left.items():
            if size > 1e-9:
                self._add(work._replace(size=size), seconds, unknown)
        if self._current is not None:
            self._add_current(self._current, seconds, unknown)
        return Left(dict(seconds), tuple(unknown))

    def _take(self, task: Task) -> tuple[_Work, ...]:
        """The task's works, no longer to come."""
        works = self._works.get(task.id, ())
        if task.id in self._ended:  # it turned out to be damaged, and is made anew
            self.total += 1
        if task.id not in self._taken:
            self._taken.add(task.id)
            for work in works:
                self._left[work._replace(size=1.0)] -= work.size
        return works

    def _add(self, work: _Work, seconds: defaultdict[TaskKind, float], unknown: dict[str, None]) -> None:
        each = self._seconds_each(work)
        if each is None:
            unknown[work.by] = None
        else:
            seconds[work.task] += work.size * each

    def _add_current(
        self, at: _Current, seconds: defaultdict[TaskKind, float], unknown: dict[str, None]
    ) -> None:
        now = self.clock()
        gone = now - at.began - at.shared_seconds
        if (going := self._by_its_own_pace(at)) is not None:
            seconds[at.task.kind] += max(going - (now - at.last), 0.0)
            return
        for work in at.works:
            if work.unit:
                rest = work._replace(size=max(work.size - at.shared[work.pace], 0.0))
                self._add(rest, seconds, unknown)
            elif (each := self._seconds_each(work)) is not None:
                seconds[work.task] += max(work.size * each - gone, 0.0)
            else:
                unknown[work.by] = None

    def _by_its_own_pace(self, at: _Current) -> float | None:
        """Seconds from the last that was told to the task's end, by how it went so far; None before that."""
        if at.done <= at.first:
            return None
        if at.unit == STEPS:  # the last of an edit's parts, or an attack's search
            return (at.last - at.since) / (at.done - at.first) * (at.total - at.done)
        if isinstance(at.task, GenerateTask):
            rest = sum(work.size for work in at.works) - at.done
            return (at.last - (at.since or at.began)) / at.done * rest
        return None

    def _seconds_each(self, work: _Work) -> float | None:
        each = self.paces.of(work.pace)
        if work.unit:
            each = None if each is None else each * (work.passes or 1.0)
        if each is None and work.passes is not None:
            if (one := self.paces.of(_pass(work))) is not None:
                return one * work.passes
            return 0.0 if work.passes == 0 else None
        return each

    def _works_of(self, task: Task) -> Iterator[_Work]:
        if isinstance(task, EraseTask):
            yield from self._of_erasing(task)
        elif isinstance(task, GenerateTask):
            yield from self._of_drawing(task)
        else:
            yield self._of_measuring(task)

    def _of_erasing(self, task: EraseTask) -> Iterator[_Work]:
        where = f"{task.base[:16]} {task.dtype}"
        own: float | None = 0.0
        needed = self._needs.get(task.id, ())
        if needed is None:
            own = None
        else:
            shared: Counter[tuple[str, float]] = Counter()
            for need, kept in needed:
                passes = need.passes * self._native
                if kept is None:
                    own = (own or 0.0) + need.count * passes
                else:
                    shared[need.unit, passes] += need.count
            for (unit, passes), count in shared.items():
                yield _Work("erase", f"{unit}|{where}", count, passes, task.method, unit)
        settings = content_id([task.settings_class, task.settings, len(task.concepts)])[:16]
        yield _Work("erase", f"edit|{where}|{settings}", 1.0, own, task.method)

    def _of_drawing(self, task: GenerateTask) -> Iterator[_Work]:
        where = f"{task.erase.base[:16]} {task.erase.dtype}"
        sizes = Counter((image.height, image.width) for image in task.images.images)
        for (height, width), count in sizes.items():
            how = f"{task.scheduler} {task.steps} {height}x{width} {task.erase.settings_class}"
            if task.attack is not None:  # nobody knows how long a search takes before it was measured
                settings = content_id([task.attack.settings_class, task.attack.settings])[:16]
                yield _Work("generate", f"attack|{where}|{how} {settings}", count, None, task.attack.name)
                continue
            passes = task.steps * GUIDED * height * width / NATIVE_PIXELS
            yield _Work("generate", f"image|{where}|{how}", count, passes, task.erase.method)

    def _of_measuring(self, task: ScoreTask | FeatureTask) -> _Work:
        how = f"{task.kind}|{task.evaluator}|{content_id(task.protocol)[:16]}"
        size = len(task) if isinstance(task, FeatureTask) else len(task.generate.images)
        return _Work(task.kind, how, size, None, task.evaluator)


def _pass(work: _Work) -> str:
    """The kind of a single pass of the denoiser that the work is made of."""
    return f"pass|{work.pace.split('|')[1]}"


def estimator_of(
    plan: Plan, todo: Sequence[Task], store: Store, general_prompts: Sequence[str] = ()
) -> Estimator:
    """For what is to do of a plan, with what the store remembers of this machine."""
    device = device_name(pick_device(plan.config.device))
    return Estimator(
        todo,
        needs_of_plan(plan, todo, store, general_prompts),
        Paces(paces_file(store.root, device)),
        resolution=plan.sizes.resolution,
    )
