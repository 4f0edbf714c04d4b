"""What the documents say is so: their examples are taken out of them and run."""

import json
import re
from pathlib import Path

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.methods.registry import build_method, method_card

ADDING_A_METHOD = Path(__file__).resolve().parent.parent / "docs" / "adding-a-method.md"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The document's one code block, saved under the name that the document gives it."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", ADDING_A_METHOD.read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_STORE", raising=False)
    path = tmp_path / "my_method.py"
    path.write_text(code)
    return path


def commands() -> list[list[str]]:
    lines = ADDING_A_METHOD.read_text().splitlines()
    return [line.partition("#")[0].split()[1:] for line in lines if line.startswith("    bench ")]


def test_the_walk_through_is_short() -> None:
    lines = ADDING_A_METHOD.read_text().splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120


def test_the_example_keeps_the_contract(
    example: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check, _ = commands()
    assert run_command([*check, "--model", str(tiny_model_dir), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["passed"]
    skipped = [check["name"] for check in document["checks"] if check["verdict"] != "ok"]
    assert skipped == ["erases several concepts"]


def test_the_example_is_built_with_the_options_that_the_document_sets(example: Path) -> None:
    _, run = commands()
    spec = run[run.index("--methods") + 1].split(",")[0]
    name, _, option = run[run.index("--method-option") + 1].partition(".")
    key, _, value = option.partition("=")

    assert method_card(spec).name == name
    assert (
        getattr(build_method(spec, options={key: value}), key)
        == int(value)
        != getattr(build_method(spec), key)
    )


def test_the_documents_run_can_be_planned(
    example: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, run = commands()
    short = ["--limit", "1", "--concepts", "grumpy-cat", "--evaluators", "nudity", "--dry-run", "--json"]
    assert run_command([*run, *short, "--model", str(tiny_model_dir)]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [cell["method"] for cell in plan["cells"]] == ["none", "MyMethod", "esd-x"]
