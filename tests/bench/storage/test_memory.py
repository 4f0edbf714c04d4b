"""A remembered fact comes back as it was written, or not at all."""

import json
from pathlib import Path

from erasure_bench.bench.storage.memory import recall, remember

VALUE = {"settings": {"eta": 1.0, "name": "é"}, "presets": ["a", "b"]}


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    said: list[str] = []
    assert recall(tmp_path / "none.json", said.append) is None
    remember(tmp_path / "deep" / "note.json", VALUE)
    assert recall(tmp_path / "deep" / "note.json", said.append) == VALUE
    assert said == []


def test_no_changed_byte_is_taken(tmp_path: Path) -> None:
    note = tmp_path / "note.json"
    remember(note, VALUE)
    whole = note.read_bytes()
    for place in range(len(whole)):
        for bit in (0, 5, 7):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            note.write_bytes(changed)
            said: list[str] = []
            found = recall(note, said.append)
            assert found in (None, VALUE) and (found is None) == (len(said) == 1)


def test_another_facts_file_is_not_taken(tmp_path: Path) -> None:
    remember(tmp_path / "a.json", VALUE)
    (tmp_path / "b.json").write_bytes((tmp_path / "a.json").read_bytes())
    said: list[str] = []
    assert recall(tmp_path / "b.json", said.append) is None
    (line,) = said
    assert "b.json is damaged; to be made anew" in line
    for other in ("[]", "{}", json.dumps(VALUE), "", "[" * 10_000):
        (tmp_path / "a.json").write_text(other)
        assert recall(tmp_path / "a.json", said.append) is None
