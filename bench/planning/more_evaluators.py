"""A run's config with further evaluators: what was asked for before stays as it was."""

from collections.abc import Mapping, Sequence

from erasure_bench.bench.planning.chosen import check_unnamed, evaluator_name, options_of
from erasure_bench.bench.planning.config import Options, RunConfig
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.evaluators.instances import instance


def as_asked(more: Sequence[str], preset: str | None) -> tuple[str, ...]:
    """The evaluators as `--evaluators` names them: with a `preset`, NAME is NAME@PRESET."""
    return tuple(f"{name}@{preset}" if preset and instance(name).label is None else name for name in more)


def with_evaluators(
    config: RunConfig,
    present: Sequence[str],
    more: Sequence[str],
    options: Mapping[str, Options],
) -> RunConfig:
    """The config of a run with the evaluators `present`, and `more` besides.

    `options` are as `bench.planning.config.named_options` gives them and meant for `more` alone. One
    that the run has already, with the same options, is no other. Raises UnknownName for options of another
    evaluator, BenchError for one that the run has with others.
    """
    names = [evaluator_name(name) for name in more]
    for stray in options:
        if stray and stray not in names:
            raise UnknownName("name before the dot", stray, names, "--evaluator-option")
    check_unnamed(more, options)
    known = {evaluator_name(name): name for name in present}
    settled = {name: options_of(written, config.evaluator_options) for name, written in known.items()}
    evaluators = list(present)
    for name, written in zip(names, more, strict=True):
        own = options_of(written, options)
        if name not in known:
            evaluators.append(written)
            known[name], settled[name] = written, own
        elif own and own != settled[name]:
            had = ", ".join(f"{key}={value}" for key, value in settled[name].items()) or "its defaults"
            raise BenchError(
                f"--evaluator-option: the run has scores by {name} with {had}: name another instance of it, "
                f"{instance(written).name}@LABEL, for other settings"
            )
    return config.model_copy(
        update={
            "evaluators": tuple(evaluators),
            "evaluator_options": {name: own for name, own in settled.items() if own},
        }
    )
