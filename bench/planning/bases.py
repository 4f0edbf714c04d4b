"""What a reader must know of each base model of a run: how it was trained, and which prompts it cuts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from erasure_bench.models.fitness import text_length
from erasure_bench.models.layouts import layout_of
from erasure_bench.models.noise_schedule import NoiseSchedule
from erasure_bench.models.prompt_lengths import token_counts
from erasure_bench.models.zoo import ModelSource
from erasure_bench.prompt_suites.suite import ROLES, Prompt

NAMED = 3
"""How many of the prompts that are cut a line names; run.json names all."""


@dataclass(frozen=True, kw_only=True)
class CutPrompts:
    """Prompts with more tokens than the text encoder is given; `by_role` counts those, `ids` is them."""

    tokens: int
    prompts: int
    by_role: Mapping[str, int]
    ids: tuple[str, ...] = ()

    @property
    def cut(self) -> int:
        """How many are longer."""
        return sum(self.by_role.values())

    @property
    def words(self) -> str:
        """ "176 of 4,703 prompts are longer than the text encoder's 77 tokens and are cut there (…)"."""
        longer = f"longer than the text encoder's {self.tokens} tokens"
        if not self.cut:
            return f"none of {self.prompts:,} prompts is {longer}"
        roles = ", ".join(f"{role} {count:,}" for role, count in self.by_role.items())
        one = self.cut == 1
        return (
            f"{self.cut:,} of {self.prompts:,} prompts {'is' if one else 'are'} {longer} and "
            f"{'is' if one else 'are'} cut there ({roles}{self._named})"
        )

    @property
    def _named(self) -> str:
        first = ", ".join(self.ids[:NAMED])
        more = ", …" if len(self.ids) > NAMED else ""
        return f": {first}{more}" if first else ""


@dataclass(frozen=True, kw_only=True)
class BaseFacts:
    """A base model's noise schedule and the prompts that it cuts.

    None where it has no such thing: an autoencoder denoises nothing, a class's name is not cut.
    """

    name: str
    schedule: NoiseSchedule | None
    cut: CutPrompts | None

    @cached_property
    def spacing(self) -> str | None:
        """How its timesteps are spaced with DDIM and PNDM."""
        return None if self.schedule is None else str(self.schedule.config["timestep_spacing"])

    def record(self) -> dict[str, Any]:
        """JSON's types, for run.json; what the model does not have is left out."""
        return {**self._schedule_record, **self._cut_record}

    @property
    def _schedule_record(self) -> dict[str, Any]:
        if self.schedule is None:
            return {}
        return {
            "trained": self.schedule.trained,
            "timestep_spacing": self.spacing,
            "set_aside": list(self.schedule.set_aside),
        }

    @property
    def _cut_record(self) -> dict[str, Any]:
        if self.cut is None:
            return {}
        return {
            "prompts_cut": {
                "tokens": self.cut.tokens,
                "prompts": self.cut.prompts,
                "cut": self.cut.cut,
                "by_role": dict(self.cut.by_role),
                "ids": list(self.cut.ids),
            },
        }


def base_facts(source: ModelSource, prompts: Iterable[Prompt]) -> BaseFacts:
    """Reads the model's configs and tokenizer. Raises BenchError where they cannot be read."""
    return BaseFacts(
        name=source.name,
        schedule=layout_of(source.path).schedule(source.path),
        cut=None if source.classes else cut_prompts(source.path, prompts),
    )


def cut_prompts(pipeline: Path, prompts: Iterable[Prompt]) -> CutPrompts:
    """Which of the prompts the pipeline's text encoder cuts."""
    by_id = {prompt.id: prompt for prompt in prompts}
    counts = token_counts(pipeline, [prompt.text for prompt in by_id.values()])
    return cut_at(text_length(pipeline), counts, tuple(by_id.values()))


def cut_at(tokens: int, counts: Sequence[int], prompts: Sequence[Prompt]) -> CutPrompts:
    """Which of the prompts, with so many tokens each, a text encoder that is given `tokens` cuts."""
    longer = [prompt for prompt, count in zip(prompts, counts, strict=True) if count > tokens]
    roles = [prompt.role for prompt in longer]
    return CutPrompts(
        tokens=tokens,
        prompts=len(prompts),
        by_role={role: roles.count(role) for role in ROLES if role in roles},
        ids=tuple(prompt.id for prompt in longer),
    )


def remarks(bases: tuple[BaseFacts, ...]) -> tuple[str, ...]:
    """One line for whatever is not as in plain Stable Diffusion, or not the same for every base model."""
    said: list[str] = []
    for place, base in enumerate(bases):
        schedule, first = base.schedule, bases[0].schedule
        if schedule is None or first is None:
            continue
        plain = not schedule.zero_snr and schedule.config["prediction_type"] == "epsilon"
        differs = place > 0 and schedule.trained != first.trained
        if differs:
            said.append(
                f"{base.name}: {schedule.words}, {schedule.betas}, as it was trained "
                f"({bases[0].name}: {first.words}, {first.betas})."
            )
        elif not plain:
            said.append(f"{base.name}: {schedule.words}, as it was trained.")
        if schedule.set_aside:
            said.append(
                f"{base.name}: its scheduler config asks for {', '.join(schedule.set_aside)}, which the "
                "protocol decides, the same for every copy of a model."
            )
        if base.cut and base.cut.cut and (place == 0 or base.cut != bases[0].cut):
            said.append(f"{base.name}: {base.cut.words}.")
    return tuple(said)


def sameness(bases: tuple[BaseFacts, ...]) -> str:
    """Whether the protocol is the same for every row, in the words of a table's note."""
    if len({base.spacing for base in bases if base.spacing}) < 2:
        return "the same for every method"
    spacings = ", ".join(f"{base.name} {base.spacing}" for base in bases)
    return f"the same for every method but for the spacing of timesteps ({spacings})"
