"""A worker as a run makes it, for tests that go through its tasks one by one."""

from erasure_bench.bench.planning.prepare import Prepared
from erasure_bench.bench.running.worker import Worker
from erasure_bench.bench.storage.store import Store


def worker_of(prepared: Prepared, store: Store, batch_size: int = 32) -> Worker:
    plan = prepared.plan
    return Worker(
        prepared.source,
        plan.methods,
        plan.evaluators,
        store,
        device="cpu",
        dtype="float32",
        batch_size=batch_size,
        general_prompts=prepared.general_prompts,
        checkpoint_seconds=0,
        attacks=plan.attacks,
    )
