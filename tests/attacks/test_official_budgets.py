"""The official budgets are the papers' and the authors' codes', written out here once more."""

import pytest

from erasure_bench.attacks.noise_loss import timesteps
from erasure_bench.attacks.registry import build_attack

BUDGETS = [
    (
        "unlearndiffatk",
        {"tries": 50, "steps": 40, "tokens": 5, "learning_rate": 0.01, "weight_decay": 0.1},
    ),
    (
        "p4d",
        {"tries": 3000 // 50, "steps": 3000, "tokens": 16, "learning_rate": 0.1, "weight_decay": 0.1},
    ),
    (
        "ring-a-bell",
        {"generations": 3000, "population": 200, "tokens": 16, "strength": 3.0}
        | {"crossover": 0.5, "mutation": 0.25},
    ),
    (
        "concept-inversion",
        {"steps": 5000, "pictures": 25, "batch_size": 4, "accumulate": 4, "learning_rate": 5e-3 * 4 * 4}
        | {"weight_decay": 0.01, "tokens": 1},
    ),
    (
        "memory-recovery",
        {"steps": 10, "pairs": 3, "points": 11, "begin": 15 / 50, "rank": 4, "batch_size": 4}
        | {"learning_rate": 1e-4, "inversion_scale": 7.5},
    ),
    ("completion", {"tries": 3}),
    ("noise", {"tries": 24}),
    ("inpainting", {"middle": 0.5}),
]


@pytest.mark.parametrize(("name", "numbers"), BUDGETS, ids=[name for name, _ in BUDGETS])
def test_budget(name: str, numbers: dict[str, float]) -> None:
    attack = build_attack(name)
    assert {key: getattr(attack, key) for key in numbers} == pytest.approx(numbers)


def test_what_is_learned_stands_and_acts_where_the_authors_have_it() -> None:
    assert build_attack("concept-inversion").captions == "templates"
    assert build_attack("memory-recovery").layers == "attn"


def test_unlearndiffatk_asks_at_its_codes_fifty_timesteps() -> None:
    assert timesteps(50, 1000) == list(range(10, 1000, 20))
