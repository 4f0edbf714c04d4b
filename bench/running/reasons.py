"""Why a task failed, in one line that says what to try."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from erasure_bench.bench.planning.tasks import EraseTask, FeatureTask, ScoreTask, Task
from erasure_bench.bench.words.showing import one_line
from erasure_bench.errors import BenchError


def reason_of(error: BaseException, task: Task | None = None) -> str:
    """One line that says what went wrong while `task` was done."""
    words = one_line(error)[:400]
    hint = _memory_hint(task) if ran_out_of_memory(error) else ""
    if isinstance(error, BenchError):
        return f"{words}{hint}"
    name = type(error).__name__
    return f"{name}: {words}{hint}" if words else f"{name}{hint}"


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether the device's or the machine's memory was full, whatever is said of it."""
    from erasure_bench.models.batches import DoesNotFit, is_out_of_memory

    return is_out_of_memory(error) and not isinstance(error, DoesNotFit)  # which says what to try itself


def _memory_hint(task: Task | None) -> str:
    if isinstance(task, EraseTask):
        tries = list(_for_erasing(task.method, task.settings))
        what = ", ".join(tries) if tries else f"a lighter setting of the method (bench show {task.method})"
        return f" (out of memory while erasing: try {what}; a narrower --dtype; docs/memory.md)"
    if isinstance(task, ScoreTask | FeatureTask):
        if _has_batches(task.evaluator):
            return f" (out of memory: try --evaluator-option {task.evaluator}.batch_size=1)"
        return f" (out of memory: try --evaluator-option {task.evaluator}.device=cpu, or another --device)"
    return " (out of memory: try a smaller --batch-size)"


def _for_erasing(method: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """The settings that a method has to need less memory; those that change no result come first."""
    lighter = {
        "micro_batch": 1,
        "gradient_checkpointing": True,
        "ema_on_cpu": True,
        "fisher_batch": 1,
        "batch_size": 1,
    }
    # A group of parameters is a choice of what is trained: it changes the result as nothing above does.
    for name, value in lighter.items():
        if name in settings and settings[name] != value and _counts(name, settings):
            changes = ", which changes the edit" if name == "batch_size" else ""
            yield f"--method-option {method}.{name}={str(value).lower()}{changes}"


def _counts(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether a setting matters as the others are."""
    match name:
        case "ema_on_cpu":
            return bool(settings.get("ema_decay"))
        case "fisher_batch":
            return bool(settings.get("ewc", True))
        case "micro_batch":
            return settings.get("batch_size") != 1
        case "batch_size":
            return "micro_batch" not in settings
        case _:
            return True


def _has_batches(evaluator: str) -> bool:
    from erasure_bench.evaluators.registry import evaluator_card

    try:
        return any(field.name == "batch_size" for field in fields(evaluator_card(evaluator).build))
    except (BenchError, TypeError):  # its own package's mistake, or no dataclass
        return False
