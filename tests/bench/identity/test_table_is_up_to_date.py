"""The committed table of versions knows the code that is here."""

from erasure_bench.bench.identity.accepting import COMMAND, outdated


def test_the_table_of_versions_is_up_to_date() -> None:
    found = [f"{kind} {name}: {why}" for kind, name, why in outdated()]
    assert not found, f"run `{COMMAND}` and commit bench/identity/accepted: {'; '.join(found)}"
