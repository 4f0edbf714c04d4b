"""A folder that keeps the table alone, as results/ here does, is read as the whole run is."""

import gzip
import json
import shutil
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from erasure_bench.bench.comparing.finished import read_finished
from erasure_bench.bench.reporting.document_file import DocumentFile
from erasure_bench.bench.reporting.reading import EARLIER, leaderboard_text, read_document, whole_row
from erasure_bench.bench.reporting.record import portable, read_record, write_record
from erasure_bench.bench.sharing.finding import find_run
from erasure_bench.errors import BenchError

IN_RUN_JSON_AS_ONE = ("cautions", "provenance")
"""Which of the notes is which only leaderboard.json says."""


@pytest.fixture(scope="module")
def whole(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    fake.run(fake.tiny_plan(), folder / "store", folder / "out")
    return folder / "out"


@pytest.fixture(params=["leaderboard.csv", "leaderboard.csv.gz"])
def alone(request: pytest.FixtureRequest, whole: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(whole, tmp_path / "alone")
    (folder / "leaderboard.json").unlink()
    if request.param.endswith(".gz"):
        table = folder / "leaderboard.csv"
        (folder / request.param).write_bytes(gzip.compress(table.read_bytes()))
        table.unlink()
    write_record(folder, portable(read_record(whole)))
    return folder


def test_nothing_is_lost_but_which_notes_are_cautions(whole: Path, alone: Path) -> None:
    asked, found = read_document(whole), read_document(alone)
    rows = [whole_row(row) for row in asked["rows"]]
    assert len(rows) > 20
    assert found["rows"] == rows
    for name in asked.keys() - {"rows", *IN_RUN_JSON_AS_ONE}:
        assert found[name] == asked[name], name
    assert asked.keys() <= set(DocumentFile.model_fields), "a new one is taken from run.json, too"


def test_every_form_of_it_is_there(whole: Path, alone: Path) -> None:
    for form in ("md", "csv"):
        assert leaderboard_text(alone, form) == leaderboard_text(whole, form)
    again = json.loads(leaderboard_text(alone, "json"))
    assert again.keys() == json.loads(leaderboard_text(whole, "json")).keys() - set(IN_RUN_JSON_AS_ONE)


def test_a_table_of_an_earlier_version_says_so(alone: Path) -> None:
    assert EARLIER not in read_document(alone)["notes"]
    table = next(alone.glob("leaderboard.csv*"))
    pd.read_csv(table).drop(columns=["verdict"]).to_csv(table, index=False)
    write_record(alone, read_record(alone))
    assert read_document(alone)["notes"][-1] == EARLIER


def test_it_is_found_compared_and_bound_by_its_digest(whole: Path, alone: Path) -> None:
    assert find_run(str(alone)) == alone
    assert read_finished(alone).models == read_finished(whole).models
    table = next(alone.glob("leaderboard.csv*"))
    table.write_bytes(table.read_bytes() + b"\n")
    for read in (read_document, lambda folder: leaderboard_text(folder, "csv")):
        with pytest.raises(BenchError, match=f"{table.name}"):
            read(alone)
