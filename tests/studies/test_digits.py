"""The study of forgetting a class: its rows are methods, its verdicts follow the intervals."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest

from studies.digits import VARIANTS, how_made, options_of_rows
from studies.digits_findings import (
    FID,
    KEPT,
    Differences,
    H,
    Number,
    P,
    Results,
    Values,
    above,
    below,
    decided,
    falls_with_lambda,
    findings,
    page_of,
)

SA = "sa-lambda-100"


def table(numbers: dict[tuple[str, Any], tuple[float, float, float]]) -> Values:
    rows = [
        {
            "method": method,
            "scope": "overall",
            "status": "ok",
            **dict(zip(("role", "evaluator", "metric"), key, strict=True)),
            **dict(zip(("value", "low", "high"), interval, strict=True)),
        }
        for (method, key), interval in numbers.items()
    ]
    return Values(pd.DataFrame(rows))


def one_seed(fid_of_lambda_1: float, naive_kept: float) -> Values:
    exact = {
        (SA, FID): 10.0,
        (SA, KEPT): 0.99,
        ("sa-lambda-1", FID): fid_of_lambda_1,
        ("sa-without-replay", FID): 30.0 + fid_of_lambda_1,
        ("sa-without-replay", KEPT): 0.98,
        ("naive", KEPT): naive_kept,
    }
    return table({key: (value, value, value) for key, value in exact.items()})


WHOLE = table(
    {
        (SA, P): (0.1, 0.08, 0.12),
        (SA, H): (2.2, 2.15, 2.25),
        ("naive", P): (0.02, 0.01, 0.03),
        ("naive", H): (0.25, 0.2, 0.3),
    }
)


def test_the_papers_findings_hold_where_every_interval_says_so() -> None:
    seeds = [one_seed(14.0, 0.3), one_seed(15.0, 0.2), one_seed(16.0, 0.25)]
    found = list(findings(WHOLE, Differences(seeds, SA), SA))
    assert [one.holds for one in found] == ["holds"] * 4
    assert "P 0.100 [0.080, 0.120]" in found[0].evidence and "+5 [+2.5, +7.5]" in found[2].evidence


def test_what_the_seeds_do_not_agree_on_is_undecided_and_the_contrary_does_not_hold() -> None:
    unsure = [one_seed(value, 0.99) for value in (9.0, 12.0, 10.0)]
    assert list(findings(WHOLE, Differences(unsure, SA), SA))[2].holds == "undecided"
    contrary = [one_seed(value, 0.99) for value in (5.0, 5.1, 4.9)]
    assert list(findings(WHOLE, Differences(contrary, SA), SA))[2].holds == "does not hold"
    remembered = table({(SA, P): (0.6, 0.5, 0.7), (SA, H): (0.5, 0.4, 0.6)})
    assert next(findings(remembered, Differences([], SA), SA)).holds == "does not hold"


def test_the_naive_way_has_not_failed_where_it_forgets_and_keeps() -> None:
    whole = table(
        {("naive", P): (0.1, 0.09, 0.11), ("naive", H): (2.25, 2.2, 2.29), (SA, P): (0.1, 0.1, 0.1)}
    )
    seeds = [one_seed(10.0, kept) for kept in (0.985, 0.99, 0.995)]
    assert list(findings(whole, Differences(seeds, SA), SA))[3].holds == "does not hold"


def test_fid_falls_with_lambda_where_every_step_is_beyond_its_interval() -> None:
    def seeds(*last: float) -> Differences:
        fids = [{1: 50.0 + seed, 10: 45.0 + seed, 50: 40.0 + seed, 100: end} for seed, end in enumerate(last)]
        exact = [{(f"sa-lambda-{one}", FID): (fid,) * 3 for one, fid in each.items()} for each in fids]
        return Differences([table(each) for each in exact], SA)

    falls = falls_with_lambda(seeds(30.0, 31.0, 32.5))
    assert falls.holds == "holds" and falls.evidence.startswith("1 to 10: −5 [−5, −5]; 10 to 50")
    assert falls_with_lambda(seeds(39.0, 42.0, 41.0)).holds == "undecided"
    assert falls_with_lambda(seeds(60.0, 61.0, 62.0)).holds == "does not hold"


def test_a_difference_over_seeds_is_a_paired_t_interval() -> None:
    from scipy.stats import ttest_rel

    ours, theirs = np.array([12.0, 15.0, 11.0]), np.array([10.0, 11.0, 10.5])
    seeds = [table({("a", FID): (x, x, x), (SA, FID): (y, y, y)}) for x, y in zip(ours, theirs, strict=True)]
    found = Differences(seeds, SA).get("a", FID)
    expected = ttest_rel(ours, theirs).confidence_interval()
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert Differences(seeds[:1], SA).get("a", FID) is None


def test_intervals_decide_only_as_a_whole() -> None:
    inside = Number(0.5, 0.4, 0.6)
    assert (above(inside, 0.3), above(inside, 0.5), above(inside, 0.6)) == (True, None, False)
    assert (below(inside, 0.7), below(inside, 0.5), below(inside, 0.4)) == (True, None, False)
    assert above(Number(0.0, 0.0, 0.0), 0.0) is False and above(None, 0.0) is None
    assert (decided([True, True]), decided([True, None]), decided([None, False])) == (
        "holds",
        "undecided",
        "does not hold",
    )


def test_the_page_says_every_row_and_finding() -> None:
    page = page_of({"digits-vae": Results(WHOLE, Differences([], SA), SA)}, {"digits-vae": "3 minutes."}, 3)
    assert "| naive | 0.020 [0.010, 0.030] |" in page and "**holds**: The forgotten class" in page
    assert "not measured" in page and "3 minutes." in page


def test_a_row_in_which_a_setting_means_nothing_is_not_given_it() -> None:
    given = options_of_rows("digits-vae", ["steps=9", "general_images=5"])
    assert sum(one.endswith(".steps=9") for one in given) == len(VARIANTS)
    assert sum(one.endswith(".general_images=5") for one in given) == len(VARIANTS) - 1
    assert "naive.general_images=5" not in given


def test_the_page_says_what_the_base_is_and_which_settings_are_no_presets() -> None:
    said = how_made("digits-vae", ["steps=1000"], 3.2)
    assert said.startswith("3 minutes of one core's time.") and "1,442 pictures" in said
    assert "8,000 steps of 64" in said and said.endswith("instead of its preset's: steps=1000.")
    assert "preset" not in how_made("digits-vae", [], 3.2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_row_is_a_variant_of_the_registered_method(variant: str) -> None:
    from erasure_bench.methods.selective_amnesia.amnesia import SA as REGISTERED
    from studies import digits_rows

    card = getattr(digits_rows, variant)
    assert card.name != REGISTERED.name and card.presets.keys() == REGISTERED.presets.keys()
    for preset, settings in card.presets.items():
        built, registered = card.build(**settings), REGISTERED.build(**REGISTERED.presets[preset])
        changed = {name for name, value in asdict(built).items() if value != asdict(registered)[name]}
        assert changed <= {"ewc_weight", "replay", "ewc", "surrogate", "forget"}, preset


def test_the_row_of_the_official_lambda_is_the_preset_itself() -> None:
    from erasure_bench.methods.selective_amnesia.amnesia import SA as REGISTERED
    from studies.digits import AGAINST, OWN_LAMBDA
    from studies.digits_rows import LAMBDA_10, LAMBDA_100

    cards = {card.name: card for card in (LAMBDA_10, LAMBDA_100)}
    for suite in ("digits-vae", "digits-ddpm"):
        card = cards[OWN_LAMBDA.get(suite, AGAINST)]
        assert card.build(**card.presets[suite]) == REGISTERED.build(**REGISTERED.presets[suite])
