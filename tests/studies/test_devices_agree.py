"""Scores of two sides are paired by picture, and only cells that both have by the same id are."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from erasure_bench.errors import BenchError
from studies import devices_agree as study


@pytest.fixture
def folder_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a run's folder of cells (name → id) with two pictures each, whose scores are `values`."""
    records: dict[Path, dict[str, Any]] = {}

    def of(name: str, cells: dict[str, str], values: list[float]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        rows = [
            {"method": method, "concept": "cat", "seed": 0, "role": "target", "evaluator": "classifier"}
            | {"metric": "class_accuracy", "prompt_id": "p", "image_index": number, "value": value}
            for method in cells
            for number, value in enumerate(values)
        ]
        pd.DataFrame(rows).to_parquet(folder / study.SCORES)
        records[folder] = {
            "suite": "cats",
            "drawn_with": {"device": [name], "torch": ["1"]},
            "cells": [
                {"method": method, "concept": "cat", "seed": 0, "id": name_of}
                for method, name_of in cells.items()
            ],
        }
        return folder

    monkeypatch.setattr(study, "read_record", records.__getitem__)
    return of


def test_each_picture_is_held_against_the_same_one(folder_of: Any) -> None:
    one = folder_of("here", {"uce": "a", "sa": "b", "esd-x": "c"}, [1.0, 0.25])
    others = [folder_of("there", {"uce": "a"}, [1.0, 0.75]), folder_of("more", {"sa": "changed"}, [0.0, 0.0])]
    table = study.compared(study.together(one, others))
    (row,) = table.to_dict("records")
    assert (row["method"], row["pictures"], row["missing_on_one_side"]) == ("uce", 2, 0)
    assert (row["same"], row["median"], row["largest"]) == (0.5, 0.25, 0.5)
    assert (row["one"], row["other"]) == (0.625, 0.875)
    text = study.page(table, "cats", study.drawn_on([one]), study.drawn_on(others))
    assert "here, torch 1; more there, torch 1" in text
    assert "| classifier: class_accuracy | uce | 2 | 0.500 | 2.5e-01 |" in text


def test_what_is_missing_on_one_side_is_counted(folder_of: Any) -> None:
    one, other = folder_of("here", {"uce": "a"}, [1.0, np.nan]), folder_of("there", {"uce": "a"}, [1.0, 0.0])
    (row,) = study.compared(study.together(one, [other])).to_dict("records")
    assert (row["pictures"], row["missing_on_one_side"], row["same"]) == (1, 1, 1.0)


def test_runs_without_a_cell_in_common_are_refused(folder_of: Any) -> None:
    one, other = folder_of("here", {"uce": "a"}, [1.0, 1.0]), folder_of("there", {"uce": "b"}, [1.0, 1.0])
    with pytest.raises(BenchError, match="none of its cells"):
        study.together(one, [other])
