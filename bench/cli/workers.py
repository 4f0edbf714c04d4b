"""The worker of a prepared plan, as every command that executes one has it."""

from typing import TYPE_CHECKING

from erasure_bench.bench.planning.prepare import Prepared
from erasure_bench.bench.storage.store import Store

if TYPE_CHECKING:
    from erasure_bench.bench.running.worker import Worker


def worker_of(prepared: Prepared, store: Store) -> "Worker":
    """Does the plan's tasks as its config says: device, precision, batch size, checkpoints."""
    from erasure_bench.bench.running.worker import Worker

    config = prepared.plan.config
    return Worker(
        prepared.source,
        prepared.plan.methods,
        prepared.plan.evaluators,
        store,
        device=config.device,
        dtype=config.dtype,
        batch_size=config.batch_size,
        general_prompts=prepared.general_prompts,
        checkpoint_seconds=60 * config.checkpoint_minutes,
    )
