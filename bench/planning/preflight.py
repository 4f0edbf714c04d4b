"""What can be known of weights before anything is drawn, from headers and shapes: no tensor is read."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.planning.chosen import ChosenEvaluator, ChosenMethod, with_its_option
from erasure_bench.bench.storage.memory import once
from erasure_bench.errors import BenchError
from erasure_bench.foreign.errors import in_one_line
from erasure_bench.foreign.sources import code_digest
from erasure_bench.models.layouts import layout_of
from erasure_bench.models.zoo import ModelSource

HEADERS = "erasure_bench.models.layouts"
USER_WEIGHTS = "erasure_bench.methods.machinery.user_weights"


def check_bases(sources: Iterable[ModelSource], memory: Path) -> None:
    """Raises BenchError where a base model's weights are damaged or not what its configs ask for.

    What was found good is remembered in the folder `memory` by the weights' digest.
    """
    for source in sources:

        def look(source: ModelSource = source) -> dict[str, Any]:
            layout_of(source.path).check_weights(source.path)
            return {}

        key = {"weights": source.digest, "code": code_digest(HEADERS)}
        once(_note(memory, key), look)


def check_edits(methods: Iterable[ChosenMethod], base: ModelSource, memory: Path) -> dict[str, str]:
    """By row: what a user's weights will be read as. Raises BenchError where they cannot be, or do not fit.

    Remembered as in `check_bases`.
    """
    found = {}
    for method in methods:
        if method.weights is None:
            continue
        path, settings = method.weights, dict(method.settings)
        key = {"edit": settings, "base": base.digest, "code": code_digest(USER_WEIGHTS)}

        def look(path: Path = path, settings: Mapping[str, Any] = settings) -> dict[str, Any]:
            from erasure_bench.methods.machinery.user_weights import check_user_edit

            how = {name: value for name, value in settings.items() if name != "digest"}
            return {
                "format": check_user_edit(
                    path, layout_of(base.path).shapes(base.path), base.digest, base.name, **how
                )
            }

        try:
            found[method.name] = str(once(_note(memory, key), look)["format"])
        except BenchError as error:
            raise BenchError(f"--edit {method.name}: {error}") from error
    return found


def check_evaluators(evaluators: Iterable[ChosenEvaluator]) -> None:
    """Loads the evaluators, as a run does before it draws. Raises BenchError where one cannot be."""
    from erasure_bench.evaluators.registry import build_evaluator

    for chosen in evaluators:
        own = build_evaluator(chosen.registered, chosen.preset, chosen.options, chosen.settings)
        with with_its_option(chosen.name), in_one_line(f"evaluator {chosen.name!r} cannot be prepared"):
            own.prepare()


def _note(memory: Path, key: Mapping[str, Any]) -> Path:
    return memory / f"{content_id(key)}.json"
