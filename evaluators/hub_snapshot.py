"""A whole repository of the hub at one commit, by ORG/NAME@COMMIT."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from erasure_bench.environment import why_hub_is_off
from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.hub import local_folder

_WRITTEN = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)@(?P<revision>[\w./-]+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubSnapshot(NamedTuple):
    """The files of a repository as they were at a commit; nothing is asked for until `folder`."""

    repository: str
    commit: str

    def protocol(self) -> Mapping[str, str]:
        """What names the weights: the commit, or the digest of a copy in $BENCH_MODELS, which may be any."""
        copy = local_folder(self.repository)
        weights = {"weights_sha256": sha256_of(copy)} if copy else {"weights_commit": self.commit}
        return {"model": self.repository, **weights}

    def folder(self, needed_by: str) -> Path:
        """Where the files lie: $BENCH_MODELS/<ORG>/<NAME>, the hub's cache, or fetched from the hub."""
        from huggingface_hub import constants, get_session, snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        if copy := local_folder(self.repository):
            return copy
        with suppress(LocalEntryNotFoundError):
            return Path(snapshot_download(self.repository, revision=self.commit, local_files_only=True))
        try:
            if off := why_hub_is_off():
                raise BenchError(off)
            # The hub's own client tries five times before it says that there is no network.
            get_session().head(constants.ENDPOINT, timeout=5)
            return Path(snapshot_download(self.repository, revision=self.commit))
        except Exception as error:  # whatever the hub's client fails with, the advice is the same
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise NotHere(
            f"{needed_by}: {self.repository}@{self.commit} is missing. Looked in "
            f"$BENCH_MODELS/{self.repository}, in {constants.HF_HUB_CACHE} and at {constants.ENDPOINT} "
            f"({reason}). Ways to get it: go online once; "
            f"`hf download {self.repository} --revision {self.commit}` elsewhere and copy it to "
            f"$BENCH_MODELS/{self.repository}; point HF_ENDPOINT at a mirror; or name a local folder "
            f"(--evaluator-option {needed_by}.model=FOLDER)"
        )


def identity(place: Path | HubSnapshot) -> Mapping[str, str]:
    """What names the weights in a folder of the user's, by its digest, or in a repository."""
    return {"weights_sha256": sha256_of(place)} if isinstance(place, Path) else place.protocol()


def folder_of(place: Path | HubSnapshot, needed_by: str) -> Path:
    """The folder, fetched if need be. Raises BenchError."""
    return place if isinstance(place, Path) else place.folder(needed_by)


def hub_snapshot(written: str, needed_by: str) -> HubSnapshot | None:
    """What ORG/NAME@COMMIT names; None for what is not written so. Raises BenchError for another revision.

    A branch's name says nothing of what a number was measured with: it moves.
    """
    found = _WRITTEN.fullmatch(written)
    if found is None:
        return None
    if not _COMMIT.fullmatch(found["revision"]):
        raise BenchError(
            f"{needed_by}: {written!r}: {found['revision']!r} may be another model tomorrow; write the 40 "
            f"digits of a commit (--evaluator-option {needed_by}.model=ORG/NAME@COMMIT)"
        )
    return HubSnapshot(found["repository"], found["revision"])
