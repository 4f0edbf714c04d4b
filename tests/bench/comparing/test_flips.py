"""Flips are counted from scores of 1 and 0, and their pictures are found in both runs' stores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erasure_bench.bench.comparing.changes import Pair
from erasure_bench.bench.comparing.finished import FinishedRun
from erasure_bench.bench.comparing.flip_sheet import write_flip_sheet
from erasure_bench.bench.comparing.flips import flips
from erasure_bench.errors import BenchError

PAIR = (Pair("dim", "dim"),)


def with_shares(run: FinishedRun, threshold: float) -> FinishedRun:
    """The run as if its brightness were a detector's yes or no."""
    scores = run.scores.copy()
    bright = scores["metric"] == "brightness"
    scores.loc[bright, "value"] = (scores.loc[bright, "value"] > threshold).astype(float)
    evaluators = {
        name: {
            **about,
            "metrics": [
                {**metric, "kind": "share" if metric["name"] == "brightness" else metric["kind"]}
                for metric in about["metrics"]
            ],
        }
        for name, about in run.document["evaluators"].items()
    }
    return replace(run, scores=scores, document={**run.document, "evaluators": evaluators})


def test_every_picture_that_turned_round_is_named(before: FinishedRun, after: FinishedRun) -> None:
    old, new = with_shares(before, 0.2), with_shares(after, 0.2)
    found = flips(old, new, PAIR)
    drawn = new.scores.query("method == 'dim' and metric == 'brightness'")
    assert len(found) == len(drawn)
    assert [flip.better for flip in found] == sorted((flip.better for flip in found), key=bool)
    assert {(flip.role, flip.better) for flip in found} == {
        ("target", False),
        ("anchor", True),
        ("retention", True),
    }
    assert flips(old, old, PAIR) == []


def test_the_pictures_are_those_that_were_scored(before: FinishedRun, after: FinishedRun) -> None:
    found = flips(with_shares(before, 0.2), with_shares(after, 0.2), PAIR)
    for flip in found[::7]:
        for run, file in zip((before, after), flip.pictures, strict=True):
            assert file is not None
            (value,) = run.scores.query(
                "method == 'dim' and metric == 'brightness' and concept == @flip.concept "
                "and prompt_id == @flip.prompt_id and image_index == @flip.image_index"
            )["value"]
            assert np.asarray(Image.open(file)).mean() / 255 == pytest.approx(value, abs=1e-9)


def test_they_come_on_one_sheet(before: FinishedRun, after: FinishedRun, tmp_path: Path) -> None:
    found = flips(with_shares(before, 0.2), with_shares(after, 0.2), PAIR)
    sheet = tmp_path / "flips.png"
    assert write_flip_sheet(found[:4], sheet) == 4
    assert Image.open(sheet).size == (3 * (2 * 128 + 18), 2 * (128 + 28 + 6))
    with pytest.raises(BenchError, match="no picture turned round"):
        write_flip_sheet([], sheet)
    gone = [flip._replace(pictures=(None, None)) for flip in found[:2]]
    with pytest.raises(BenchError, match="no flip whose pictures are both"):
        write_flip_sheet(gone, sheet)
