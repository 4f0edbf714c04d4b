"""The study does what its folder lacks, and no more, and commits nothing of one machine."""

from pathlib import Path

import pandas as pd
import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.leaderboard import COLUMNS
from erasure_bench.bench.reporting.reading import EARLIER
from erasure_bench.bench.reporting.record import read_record
from studies import microworld_leaderboards as study
from studies.pieces import Piece, lacking
from tests.studies.completing import completed

SUITE = "microworld-implicit"


def config(*seeds: int, methods: tuple[str, ...] = ("none", "negative-prompt")) -> RunConfig:
    return RunConfig(suite=SUITE, methods=methods, seeds=seeds, limit=1)


@pytest.mark.slow
@pytest.mark.usefixtures("microworld")
def test_seeds_and_methods_are_added_to_what_is_there(tmp_path: Path) -> None:
    out, work = tmp_path / "out" / SUITE, tmp_path / "work"
    assert completed(config(0), out, work) == ["none-0", "negative-prompt-0"]
    assert lacking(config(0), [out], work / "store") == []
    more = config(0, methods=("none", "negative-prompt", "sld-max"))
    (piece,) = lacking(more, [out], work / "store")
    assert piece == Piece(SUITE, "sld-max", (0,), 1)

    assert completed(config(0, 1), out, tmp_path / "other work") == ["none-1", "negative-prompt-1"]
    assert lacking(config(0, 1), [out], work / "store") == []
    scores = pd.read_parquet(out / "scores.parquet")
    assert set(scores["seed"]) == {0, 1}
    assert str(tmp_path) not in (out / "run.json").read_text()
    assert read_record(out)["store"] is None
    (document,) = study.documents(tmp_path / "out").values()
    assert document["seeds"] == [0, 1] and document["methods"] == ["none", "negative-prompt"]
    few = [row["reason"] for row in document["rows"] if row["evaluator"] == "coherence"]
    assert all("at least 20 are needed" in reason for reason in few), "five pictures are no range to be in"
    assert {row["reason"] for row in document["rows"] if row["evaluator"] != "coherence"} == {""}
    assert "negative-prompt" in study.page(tmp_path / "out")


def test_tables_of_an_earlier_version_are_left_out_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = dict.fromkeys(COLUMNS) | {"method": "none", "scope": "overall"}
    facts = {"methods": ["none"], "baseline": "none", "concepts": ["fire"], "seeds": [0], "rows": [row]}
    both = {"new-suite": facts | {"notes": []}, "old-suite": facts | {"notes": [EARLIER]}}
    monkeypatch.setattr(study, "documents", lambda folder: both)
    text = study.page(tmp_path)
    assert "## new-suite" in text and "old-suite" not in text
    assert "leaves out what an earlier version made: old-suite" in capsys.readouterr().err
