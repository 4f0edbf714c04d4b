"""What probes need that begin within the sampler's steps: its timesteps, and a scheduler that can."""

from erasure_bench.attacks.base import Victim
from erasure_bench.errors import BenchError
from erasure_bench.models.schedulers import build_scheduler
from erasure_bench.prompt_suites.suite import SchedulerName

ABLE: SchedulerName = "ddim"


def sampling_timesteps(victim: Victim, what: str) -> list[int]:
    """The timesteps of the victim's sampler, from the noisiest.

    Raises BenchError for a scheduler that carries something from step to step, or takes a timestep twice: a
    picture cannot be begun in the middle of its steps, nor its steps be replaced.
    """
    if victim.scheduler != ABLE:
        raise BenchError(
            f"{what} leaves the sampler's own steps, as scheduler {victim.scheduler!r} cannot: it needs"
            f" the scheduler {ABLE!r} (--scheduler {ABLE})"
        )
    schedule = build_scheduler(victim.model.scheduler_config, victim.scheduler, victim.steps, victim.eta)
    return [int(timestep) for timestep in schedule.timesteps]
