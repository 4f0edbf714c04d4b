"""`python -m studies.fisher_fidelity`: how well the fast Fisher ranks weights as the exact one does.

On the built-in model, for all weights of its UNet and on the same pictures (one of each of the first
general prompts): Spearman's rank correlation of `fast_fisher` to `exact_fisher`, passes and seconds
of both, and, to know what matters, the correlation of two exact ones on other pictures and of
two on the same picture with other noise. Writes `results/microworld/fisher.md`; about a quarter of an hour
on one core.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Generator

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.machinery.base_images import Drawing
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.selective_amnesia.fisher import Fisher, exact_fisher, fast_fisher, rank_correlation
from erasure_bench.methods.selective_amnesia.general_set import GeneralSet, pictures
from erasure_bench.models.generative import DiffusionGenerative
from erasure_bench.models.zoo import load_model
from erasure_bench.prompt_suites.general import general_prompts

MODEL = "microworld"
DRAWING = Drawing(scheduler="ddim", steps=20, guidance_scale=4.0)
PICTURE_SEED = 42


class Timed(NamedTuple):
    """A Fisher diagonal and the seconds it took."""

    fisher: Fisher
    seconds: float


class Bench:
    """The model, its pictures and its weights; estimates Fishers on some of the pictures."""

    def __init__(self, count: int, batch_size: int) -> None:
        model = load_model(MODEL)
        self.generative = DiffusionGenerative(model, pictures(model, DRAWING, EraseContext()))
        self.prompts = general_prompts(MODEL)[:count]
        general = GeneralSet(prompts=self.prompts, seed=PICTURE_SEED, drawing=DRAWING)
        self.examples = general.latents(self.generative)
        self.parameters = select(model.parts, "full")
        self.terms = self.generative.terms
        self.batch_size = batch_size

    def exact(self, rows: slice, seed: int) -> Timed:
        """From every term."""
        return self._timed(exact_fisher, rows, seed)

    def fast(self, rows: slice, seed: int, terms: int) -> Timed:
        """From `terms` of them."""
        return self._timed(fast_fisher, rows, seed, terms=terms)

    def _timed(self, estimate: Callable[..., Fisher], rows: slice, seed: int, **settings: int) -> Timed:
        started = time.perf_counter()
        fisher = estimate(
            self.generative,
            self.parameters,
            self.examples[rows],
            self.prompts[rows],
            generator=Generator().manual_seed(seed),
            batch_size=self.batch_size,
            **settings,
        )
        return Timed(fisher, time.perf_counter() - started)


def total(fisher: Fisher) -> float:
    """The sum over all weights."""
    return float(sum(part.sum(dtype=torch.float64) for part in fisher.values()))


def mean_of(fishers: list[Fisher]) -> Fisher:
    """The Fisher on all pictures from those on equally many of them."""
    return {name: torch.stack([one[name] for one in fishers]).mean(0) for name in fishers[0]}


def comparisons(bench: Bench, exact: Timed, terms: list[int], seeds: int) -> Iterator[dict[str, str]]:
    """One row for each number of terms: all seeds' fast Fishers against the exact one."""
    count = len(bench.prompts)
    for number in terms:
        fast = [bench.fast(slice(None), seed, number) for seed in range(1, 1 + seeds)]
        found = pd.Series([rank_correlation(one.fisher, exact.fisher) for one in fast])
        sums = pd.Series([total(one.fisher) / total(exact.fisher) for one in fast])
        yield {
            "terms a picture": str(number),
            "passes": f"{number * count:,}",
            "times fewer passes": f"{bench.terms / number:.1f}",
            "seconds": f"{pd.Series([one.seconds for one in fast]).mean():.0f}",
            "ρ to exact, lowest": f"{found.min():.4f}",
            "highest": f"{found.max():.4f}",
            "sum of F, fast / exact": f"{sums.min():.2f} to {sums.max():.2f}",
        }
        print(f"{number} terms: ρ {found.min():.4f} to {found.max():.4f}", file=sys.stderr, flush=True)


def page(bench: Bench, terms: list[int], seeds: int) -> str:
    """The report in Markdown."""
    count = len(bench.prompts)
    halves = [bench.exact(slice(None, count // 2), 0), bench.exact(slice(count // 2, None), 0)]
    exact = Timed(mean_of([half.fisher for half in halves]), sum(half.seconds for half in halves))
    print(f"exact: {exact.seconds:.0f} s", file=sys.stderr, flush=True)
    rows = list(comparisons(bench, exact, terms, seeds))
    one = bench.exact(slice(0, 1), 1)
    again = bench.exact(slice(0, 1), 2)
    weights = sum(part.numel() for part in exact.fisher.values())
    return "\n".join(
        [
            "# The fast Fisher against the exact one",
            "",
            "Made by `python -m studies.fisher_fidelity`. Spearman's rank correlation ρ of the diagonal",
            f"Fisher information over all {weights:,} weights of the built-in model's UNet, on the same",
            f"{count} pictures; {seeds} seeds of the fast one for each row. The exact one took",
            f"{bench.terms * count:,} passes and {exact.seconds:.0f} s.",
            "",
            f"| {' | '.join(rows[0])} |",
            "|" + "---:|" * len(rows[0]),
            *(f"| {' | '.join(row.values())} |" for row in rows),
            "",
            "What else moves it, both exact:",
            "",
            f"- the same picture with other noise: ρ {rank_correlation(one.fisher, again.fisher):.4f}",
            f"- the first and the second {count // 2} pictures: "
            f"ρ {rank_correlation(halves[0].fisher, halves[1].fisher):.4f}",
            "",
            f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} thread(s), "
            f"torch {torch.__version__}, {time.strftime('%Y-%m-%d')}.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.fisher_fidelity", description=__doc__)
    parser.add_argument("--pictures", type=int, default=8, help="an even number")
    parser.add_argument("--terms", default="50,16,8", help="comma list: terms a picture of the fast one")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("results/microworld/fisher.md"))
    given = parser.parse_args()
    if given.pictures < 2 or given.pictures % 2:
        parser.error(f"--pictures {given.pictures}: an even number, 2 at least")
    bench = Bench(given.pictures, given.batch_size)
    text = page(bench, [int(number) for number in given.terms.split(",")], given.seeds)
    given.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
