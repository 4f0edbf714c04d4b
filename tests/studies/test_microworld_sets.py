"""Sets are measured of the pictures that the leaderboards have, beside what marks a collapse."""

from pathlib import Path

import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.prepare import prepare
from studies import microworld_sets as study


@pytest.mark.usefixtures("microworld")
@pytest.mark.parametrize("suite", study.SUITES)
def test_every_suites_evaluators_are_here_and_one_of_them_marks_what_has_collapsed(
    suite: str, tmp_path: Path
) -> None:
    config = RunConfig(suite=suite, methods=("none", "uce"), limit=1, evaluators=study.SUITES[suite])
    chosen = prepare(config, tmp_path).plan.evaluators
    assert tuple(one.name for one in chosen) == study.SUITES[suite]
    assert any(metric.tells_collapse for one in chosen for metric in one.metrics)


def test_another_suite_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        study.main(["--suites", "microworld-style"])
    assert "--suites microworld-style: valid: microworld-styles" in capsys.readouterr().err
