"""Trackers have what a run gives, by their own readers; one that fails never costs a run its results."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.reporting.completing import complete
from erasure_bench.bench.reporting.reading import read_document
from erasure_bench.bench.reporting.results import write_results
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.tracking.base import OF_THE_RUN, TrackedRun, Tracker
from erasure_bench.bench.tracking.guarded import Guarded
from erasure_bench.bench.tracking.registry import TRACKERS, build_tracker, check_trackers
from erasure_bench.bench.tracking.telling import leaderboard_values, telling, tracked_run
from erasure_bench.errors import BenchError
from tests.bench.fake_run import FakeWorker, tiny_plan


def run(folder: Path, *trackers: Guarded) -> Path:
    """A run as `bench run --track` does it, in `folder`/run."""
    plan, out = tiny_plan(), folder / "run"
    with Store(folder / "store") as store, telling(trackers, tracked_run(plan, out)) as told:
        _, results = complete(plan, FakeWorker(store), store, lambda: told)
        write_results(out, plan, results, {}, store)
        told.results(results.document, out)
    return out


def guarded(tracker: Tracker, said: list[str], patience: float = 30.0) -> Guarded:
    return Guarded("theirs", lambda: tracker, said.append, patience)


@pytest.fixture
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """What a tracker should have of the run: its leaderboard's overall numbers, by row."""
    return leaderboard_values(read_document(run(tmp_path_factory.mktemp("plain"))))


def test_a_leaderboard_becomes_numbers_by_row(wanted: dict[str, dict[str, float]]) -> None:
    assert set(wanted) == {"none", "dim"}
    values = wanted["dim"]
    assert values["target/fake/brightness_low"] <= values["target/fake/brightness"]
    assert values["target/fake/brightness"] < wanted["none"]["target/fake/brightness"]
    assert values["cost/erase_seconds"] == 2.0 and values["collapsed"] == 0.0


@pytest.mark.filterwarnings("ignore:.*noload.*")  # MLflow's own
def test_mlflow_has_the_run_and_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, dict[str, float]]
) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "erasing")
    said: list[str] = []
    run(tmp_path, Guarded("mlflow", lambda: build_tracker("mlflow"), said.append))
    assert said == []

    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("erasing")
    runs = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"run", "none", "dim"}
    assert all(one.info.status == "FINISHED" for one in runs.values())
    whole, dim = runs["run"], runs["dim"]
    assert dim.data.tags["mlflow.parentRunId"] == whole.info.run_id
    assert dim.data.params["strength"] == "0.5" and whole.data.params["suite"] == "tiny"
    losses = [name for name in dim.data.metrics if name.startswith("loss/")]
    assert sorted(losses) == ["loss/Blue Cube/seed 0", "loss/red ball/seed 0"]
    logged = {name: value for name, value in dim.data.metrics.items() if name not in losses}
    assert logged == pytest.approx(wanted["dim"])
    history = client.get_metric_history(whole.info.run_id, "progress/tasks")
    assert [point.step for point in history] == list(range(1, len(history) + 1))
    files = {file.path for file in client.list_artifacts(whole.info.run_id)}
    assert {"run.json", "leaderboard.json", "scores.parquet"} <= files


def test_tensorboards_own_reader_reads_the_rows(tmp_path: Path, wanted: dict[str, dict[str, float]]) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    said: list[str] = []
    out = run(tmp_path, Guarded("tensorboard", lambda: build_tracker("tensorboard"), said.append))
    assert said == []
    rows = {folder.name: EventAccumulator(str(folder)).Reload() for folder in (out / "tensorboard").iterdir()}
    assert set(rows) == {"run", "none", "dim"}
    tags = rows["dim"].Tags()["scalars"]
    losses = {tag for tag in tags if tag.startswith("loss/")}
    assert losses == {"loss/red ball/seed 0", "loss/Blue Cube/seed 0"}
    read = {tag: rows["dim"].Scalars(tag)[-1].value for tag in tags if tag not in losses}
    assert read == pytest.approx(wanted["dim"], rel=1e-6)
    assert [event.step for event in rows["run"].Scalars("progress/tasks")][-1] > 20
    (settings,) = rows["dim"].Tensors("settings/text_summary")
    assert b'"strength": "0.5"' in settings.tensor_proto.string_val[0]


class Breaks:
    """A tracker that fails at one of its calls."""

    def __init__(self, at: str, error: BaseException) -> None:
        self.at, self.error = at, error
        self.calls: list[str] = []

    def _do(self, call: str) -> None:
        self.calls.append(call)
        if call == self.at:
            raise self.error

    def begin(self, run: TrackedRun) -> None:
        self._do("begin")

    def log(self, row: str, values: Mapping[str, float], step: int) -> None:
        self._do("log")

    def keep(self, file: Path) -> None:
        self._do("keep")

    def end(self, *, well: bool) -> None:
        self._do("end")


@pytest.mark.parametrize("at", ["begin", "log", "keep", "end"])
@pytest.mark.parametrize("error", [RuntimeError("the server\nis away"), SystemExit("the server is away")])
def test_a_tracker_that_fails_costs_one_line_and_nothing_else(
    at: str, error: BaseException, tmp_path: Path
) -> None:
    said: list[str] = []
    tracker = Breaks(at, error)
    out = run(tmp_path, guarded(tracker, said))
    assert said == ["tracker theirs: the server is away; the run goes on, and its results are in its folder"]
    assert tracker.calls[-1] == at, "it is told nothing more"
    assert read_document(out)["methods"] == ["none", "dim"]


def test_a_tracker_that_cannot_be_imported_costs_one_line(tmp_path: Path) -> None:
    def build() -> Tracker:
        raise ImportError("its library is broken")

    said: list[str] = []
    assert read_document(run(tmp_path, Guarded("theirs", build, said.append)))["rows"]
    assert len(said) == 1 and "its library is broken" in said[0]


def test_a_tracker_that_hangs_holds_no_run_up(tmp_path: Path) -> None:
    never = threading.Event()

    class Hangs(Breaks):
        def log(self, row: str, values: Mapping[str, float], step: int) -> None:
            never.wait(60)

    said: list[str] = []
    out = run(tmp_path, guarded(Hangs("", RuntimeError()), said, patience=0.2))
    never.set()
    assert said == [
        "tracker theirs: not done after 0.2 s; the run goes on, and its results are in its folder"
    ]
    assert read_document(out)["rows"]


def test_an_interrupted_run_is_told_as_one(tmp_path: Path) -> None:
    ended: list[bool] = []

    class Keeps(Breaks):
        def end(self, *, well: bool) -> None:
            ended.append(well)

    run(tmp_path, guarded(Keeps("", RuntimeError()), []))
    with (
        pytest.raises(KeyboardInterrupt),
        telling([guarded(Keeps("", RuntimeError()), [])], _nothing(tmp_path)),
    ):
        raise KeyboardInterrupt
    assert ended == [True, False]


def _nothing(folder: Path) -> TrackedRun:
    return TrackedRun("run", folder, {}, {})


def test_numbers_that_are_none_are_not_told(tmp_path: Path) -> None:
    told: list[dict[str, float]] = []

    class Keeps(Breaks):
        def log(self, row: str, values: Mapping[str, float], step: int) -> None:
            told.append(dict(values))

    with telling([guarded(Keeps("", RuntimeError()), [])], _nothing(tmp_path)) as reporter:
        reporter._log(OF_THE_RUN, {"a": float("nan"), "b": 1.0}, 0)
        reporter._log(OF_THE_RUN, {"a": float("inf")}, 0)
    assert told == [{"b": 1.0}]


def test_a_wrong_name_and_a_missing_package_are_known_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "--suite", "microworld-instances", "--methods", "none", "--track"]
    assert run_command([*words, "mlfow"]) == 3
    assert "unknown tracker 'mlfow' (--track): did you mean mlflow?" in capsys.readouterr().err
    monkeypatch.setattr("erasure_bench.bench.tracking.registry.find_spec", lambda name: None)
    assert run_command([*words, "wandb"]) == 3
    assert "pip install 'erasure-bench[wandb]'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_every_tracker_has_an_extra_of_its_name() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert all(extras[name] for name in TRACKERS)
    with pytest.raises(BenchError):
        check_trackers(["nobody"])


def test_settings_are_flat_text(tmp_path: Path) -> None:
    told = tracked_run(tiny_plan(), tmp_path / "mine")
    assert told.name == "mine" and told.settings["methods"] == '["dim"]'
    assert json.loads(told.rows["dim"]["strength"]) == 0.5
