"""A file for `bench run -c`: every flag is a key, the command line wins, a mistake is shown where it is."""

from pathlib import Path

import pytest
import typer

from erasure_bench.bench.cli.app import app
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.run_yaml import Asked, RunYaml, read_run_yaml, write_run_yaml
from erasure_bench.errors import BenchError

WHOLE = """\
suite: s
methods: [esd-x, uce]
method_options:
  esd-x: {eta: 0.5, steps: 100, layers: [a, b], warm: true, limit: null}
  seed: 3
evaluators: clip, nudity
evaluator_options:
  nudity: {labels: [face, feet]}
suite_options: {mode: native}
edits: {theirs: ~/theirs.safetensors}
references: [other]
concepts: one, two (with, comma)
seeds: [0, 1]
limit: 4
transform: [misspelling]
task_timeout: 60
out: runs/mine
json: true
"""


def written(folder: Path, text: str) -> Path:
    (folder / "run.yaml").write_text(text)
    return folder / "run.yaml"


def as_said(**said: object) -> dict[str, object]:
    """The values of a command line: its defaults where nothing is said."""
    defaults = RunYaml()
    return {key: said.get(key, getattr(defaults, key)) for key in RunYaml.model_fields}


def test_every_flag_of_the_command_is_a_key() -> None:
    command = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    flags = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    keys = {(field.alias or name).replace("_", "-") for name, field in RunYaml.model_fields.items()}
    of_the_file_itself = {"--config", "--save-config", "--help"}
    assert {
        flag for flag in flags - of_the_file_itself if {flag[2:], f"{flag[2:]}s"}.isdisjoint(keys)
    } == set()


def test_a_whole_file_is_read_as_the_command_line_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    values = read_run_yaml(written(tmp_path, WHOLE)).values
    assert values["method_options"] == {
        "esd-x": {"eta": "0.5", "steps": "100", "layers": '["a", "b"]', "warm": "true", "limit": "none"},
        "": {"seed": "3"},
    }
    assert values["evaluator_options"] == {"nudity": {"labels": "face,feet"}}
    assert values["evaluators"] == ("clip", "nudity")
    assert values["concepts"] == ("one", "two (with, comma)")
    assert values["edits"] == {"theirs": tmp_path / "theirs.safetensors"}
    assert values["seeds"] == (0, 1) and values["out"] == Path("runs/mine") and values["as_json"] is True
    config = Asked(as_said()).joined(values, values.keys()).config()
    assert isinstance(config, RunConfig) and config.limit == 4


def test_the_command_line_wins_key_by_key(tmp_path: Path) -> None:
    asked = read_run_yaml(written(tmp_path, WHOLE))
    said = as_said(limit=9, method_options={"esd-x": {"eta": "1"}, "uce": {"x": "2"}}, seeds=(5,))
    joined = asked.joined(said, {"limit", "method_options"}).values
    assert joined["limit"] == 9
    assert joined["seeds"] == (0, 1), "a default of the command line is no wish"
    assert joined["method_options"]["esd-x"]["eta"] == "1"
    assert joined["method_options"]["esd-x"]["steps"] == "100"
    assert joined["method_options"]["uce"] == {"x": "2"}


def test_options_go_with_the_method_that_the_command_line_leaves_out(tmp_path: Path) -> None:
    asked = read_run_yaml(written(tmp_path, WHOLE))
    joined = asked.joined(as_said(methods=("uce",)), {"methods"}).values
    assert joined["methods"] == ("uce",)
    assert joined["method_options"] == {"": {"seed": "3"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "suite: s\nmethdos: [a]\n",
            "run.yaml:2: methdos: no such key: did you mean methods? valid: suite, ",
        ),
        (
            "suite: s\n\ndtype: int8\n",
            "run.yaml:3: dtype: should be 'float32', 'bfloat16' or 'float16', not 'int8'",
        ),
        ("suite: s\nlimit: 0\n", "run.yaml:2: limit: should be greater than or equal to 1, not 0"),
        ("suite: s\nlimit: true\n", "run.yaml:2: limit: should be a valid integer, not True"),
        ("suite: [s]\n", "run.yaml:1: suite: should be a valid string"),
        ("seeds: [0, -1]\n", "run.yaml:1: seeds: needs one or more whole numbers, none negative"),
        ("seeds: 0,x\n", "--seeds '0,x'"),
        ("edits: {a: 3}\n", "run.yaml:1: edits.a: should be"),
        ("a: 1\na: 2\n", "run.yaml:2: 'a' is there twice, first in line 1"),
        ("- a\n", "run.yaml:1: holds no keys"),
        ("suite: s\nmethods: [a\n", "run.yaml:3: is no YAML"),
        ("", "run.yaml: is empty"),
    ],
)
def test_a_mistake_is_shown_where_it_stands(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        read_run_yaml(written(tmp_path, text))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"-c .*none\.yaml: No such file"):
        read_run_yaml(tmp_path / "none.yaml")


def test_a_later_error_about_a_flag_names_the_line_of_the_file(tmp_path: Path) -> None:
    asked = read_run_yaml(written(tmp_path, WHOLE)).joined(as_said(methods=("uce",)), {"methods"})
    told = asked.told(BenchError("unknown concept 'x' (--concepts): valid: y"))
    assert str(told).startswith(f"{tmp_path}/run.yaml:12: concepts: unknown concept")
    assert str(asked.told(BenchError("esd-x: --method-option eta=b"))).startswith(f"{tmp_path}/run.yaml:3: ")
    of_the_command_line = BenchError("unknown method 'q' (--methods)")
    assert asked.told(of_the_command_line) is of_the_command_line


def test_what_is_saved_asks_for_the_same(tmp_path: Path) -> None:
    values = as_said() | dict(read_run_yaml(written(tmp_path, WHOLE)).values) | {"dry_run": True}
    saved = tmp_path / "saved" / "run.yaml"
    write_run_yaml(saved, values)
    again = read_run_yaml(saved).values
    lasting = {key: value for key, value in values.items() if key not in ("dry_run", "as_json")}
    assert as_said(**again) == as_said(**lasting)
    assert "dtype" not in again, "a default is not written"
    write_run_yaml(saved, values)
    with pytest.raises(BenchError, match="there is another file already"):
        write_run_yaml(saved, values | {"limit": 5})


def test_neither_a_suite_nor_a_row_is_one_line() -> None:
    with pytest.raises(BenchError, match="give --suite"):
        Asked(as_said()).config()
    with pytest.raises(BenchError, match="give --methods"):
        Asked(as_said(suite="s")).config()
