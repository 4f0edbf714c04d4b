"""What the workers of one run are told: a file beside the run's journal, there while they shall work.

<run>/.running/job-<token>.json    the run's config, its store, its plan's id
<run>/.running/workers/<name>/     what that worker says of itself (`journal`, `events`)
<run>/.running/broken/ …           what they tell each other (`board`)
"""

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.running.journal import FOLDER
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.errors import BenchError

_NAME = "job-*.json"
WORKERS = "workers"


class Job(BaseModel):
    """A run for several workers; `folder` is where paths on the run's command line are from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["erasure-bench job 1"] = "erasure-bench job 1"
    config: RunConfig
    store: Path
    remote: str | None = None
    folder: Path
    plan: str
    workers: int

    @classmethod
    def of(cls, plan: Plan, store: Path, workers: int, remote: str | None = None) -> Self:
        """The plan's, for so many workers."""
        return cls(
            config=plan.config,
            store=store.resolve(),
            remote=remote,
            folder=Path.cwd(),
            plan=plan.id,
            workers=workers,
        )


def write_job(run: Path, job: Job) -> Path:
    """Puts the job where workers find it, and what an earlier one left out of the way; raises OSError."""
    place = run.resolve() / FOLDER
    for left in place.glob(_NAME):
        left.unlink(missing_ok=True)
    for name in (WORKERS, "broken", "tried", "deaths", "over"):
        shutil.rmtree(place / name, ignore_errors=True)
    path = place / f"job-{secrets.token_hex(4)}.json"
    write_text(path, job.model_dump_json(indent=1))
    return path


def find_job(asked: Path) -> Path:
    """The file itself, or that of the run in a folder; raises BenchError where there is none."""
    if asked.is_file():
        return asked.resolve()
    found = sorted((asked / FOLDER).glob(_NAME))
    if not found:
        raise BenchError(
            f"{asked}: no run waits for workers there: begin one with bench run --out {asked} --workers N"
        )
    return found[-1].resolve()


def read_job(path: Path) -> Job:
    """Raises BenchError for a file that is no job, or another version's."""
    try:
        return Job.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise BenchError(f"{path} cannot be read ({why}): start the bench run anew") from error


def place_of(path: Path, worker: str) -> Path:
    """Where a worker of this job writes of itself."""
    return path.parent / WORKERS / worker


def own_environment() -> dict[str, str]:
    """The variables that a worker on another machine must have as this process has them."""
    mine = ("BENCH_", "HF_", "OMP_", "PYTHONPATH", "TORCH", "TRANSFORMERS_")
    return {name: value for name, value in os.environ.items() if name.startswith(mine)}
