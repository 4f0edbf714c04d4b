"""An earlier commit's code is measured as it was, and only where it is the code that the table names."""

import shutil
import subprocess
from pathlib import Path

import pytest

from erasure_bench.bench.identity import accepting
from erasure_bench.bench.identity.earlier import Earlier, checked_out
from erasure_bench.bench.identity.table import Accepted, Fingerprint
from erasure_bench.errors import BenchError

PACKAGE = {
    "torch.py": "def set_num_threads(count): pass\n",
    "erasure_bench/environment.py": "def go_offline(): pass\n",
    "erasure_bench/bench/identity/table.py": "def digest_of(kind, name): return f'{kind} {name} code'\n",
    "erasure_bench/bench/identity/fingerprints.py": """
from types import SimpleNamespace
class NotHere(Exception): pass
class NoLonger(Exception): pass
def measure(name, settings):
    print("a word of a library's")
    if settings["steps"] > 5:
        raise NotHere("no weights")
    return {"weights": [settings["steps"] * SCALE], "texts": name}
def fingerprints_of(kind):
    return SimpleNamespace(measure=measure)
SCALE = 1.0
""",
}


def entry(code: str = "method blur code") -> Accepted:
    cases = {"official": {"steps": 2}, "paper": {"steps": 9}}
    taken = {
        case: Fingerprint(settings=settings, numbers={"weights": [0.0]}) for case, settings in cases.items()
    }
    return Accepted(
        version="1", code=code, fingerprints=taken | {"lacking": Fingerprint(settings={}, not_run="x")}
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits: the second measures ten times as much."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    root = tmp_path / "repository"
    for name, text in PACKAGE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for folder in ("erasure_bench", "erasure_bench/bench", "erasure_bench/bench/identity"):
        (root / folder / "__init__.py").write_text("")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "before"]):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    changed = root / "erasure_bench/bench/identity/fingerprints.py"
    changed.write_text(changed.read_text().replace("SCALE = 1.0", "SCALE = 10.0"))
    subprocess.run(["git", "-C", str(root), *who, "commit", "-qam", "after"], check=True)
    return root


def test_a_commits_own_code_is_measured_and_the_checkout_is_gone_afterwards(repository: Path) -> None:
    for commit, weight in (("HEAD~1", 2.0), ("HEAD", 20.0)):
        with checked_out(commit, repository) as there:
            folder = there.folder
            found = [there.numbers("method", "blur", entry()) for _ in range(2)]
        assert found == 2 * [{"official": {"weights": [weight], "texts": "blur"}}], (
            "nothing of what is not here"
        )
        assert not folder.exists()
    listed = subprocess.run(
        ["git", "-C", str(repository), "worktree", "list"], check=True, capture_output=True, text=True
    )
    assert len(listed.stdout.splitlines()) == 1


def test_other_code_than_the_tables_and_a_commit_that_is_none_are_refused(repository: Path) -> None:
    with checked_out("HEAD", repository) as there, pytest.raises(BenchError, match="other code there"):
        there.numbers("method", "blur", entry("another"))
    with pytest.raises(BenchError, match="--before nowhere: .*nowhere"), checked_out("nowhere", repository):
        pass
    (repository / "erasure_bench/environment.py").unlink()
    broken = Earlier("HEAD", repository)
    with pytest.raises(BenchError, match="cannot be measured there: ModuleNotFoundError"):
        broken.numbers("method", "blur", entry())
    broken.end()


def test_a_mistake_is_said_by_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["accepting", "--before", "no-such-commit"])
    with pytest.raises(SystemExit):
        accepting.main()
    assert "--before no-such-commit: " in capsys.readouterr().err.splitlines()[-1]
