"""One file of a hub repository: from a local copy, the hub's cache, or the network, without long waits."""

import os
from collections.abc import Sequence
from pathlib import Path

from erasure_bench.environment import why_hub_is_off
from erasure_bench.errors import NotHere
from erasure_bench.user_paths import user_path


def hub_file(repository: str, names: Sequence[str], what: str, otherwise: str) -> Path:
    """The first of `names` that can be had from `repository` ("ORG/NAME").

    Looked for in $BENCH_MODELS/<ORG>/<NAME>, in the hub's cache and, unless offline, at the hub or
    HF_ENDPOINT. Raises `BenchError`: `what` says what the file is for, `otherwise` how to
    do without the hub.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    if copy := local_copy(repository, names):
        return copy
    for name in names:
        cached = try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    found, reason = _download(repository, names)
    if found:
        return found
    raise NotHere(
        f"{what}: {names[0]} of {repository} is missing. Looked in $BENCH_MODELS/{repository}, in "
        f"{constants.HF_HUB_CACHE} and at {constants.ENDPOINT} ({reason}). Ways to get it: go online once; "
        f"`hf download {repository} {names[0]}` elsewhere and copy it to $BENCH_MODELS/{repository}; "
        f"point HF_ENDPOINT at a mirror; or {otherwise}"
    )


def local_copy(repository: str, names: Sequence[str]) -> Path | None:
    """The first of `names` in $BENCH_MODELS/<ORG>/<NAME>."""
    folder = local_folder(repository)
    return next((folder / name for name in names if (folder / name).is_file()), None) if folder else None


def local_folder(repository: str) -> Path | None:
    """$BENCH_MODELS/<ORG>/<NAME>, where there is such a folder."""
    root = models_folder()
    folder = root / repository if root else None
    return folder if folder and folder.is_dir() else None


def models_folder() -> Path | None:
    """$BENCH_MODELS, where copies of models lie, if it is set."""
    root = os.environ.get("BENCH_MODELS")
    return user_path(root) if root else None


def _download(repository: str, names: Sequence[str]) -> tuple[Path | None, str]:
    from huggingface_hub import constants, get_session, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if off := why_hub_is_off():
        return None, off
    reason = ""
    try:
        # The hub's own client tries five times before it says that there is no network.
        get_session().head(constants.ENDPOINT, timeout=5)
        for name in names:
            try:
                return Path(hf_hub_download(repository, name)), ""
            except EntryNotFoundError:
                reason = f"no {' or '.join(names)} there"
    except Exception as error:  # whatever the hub's client fails with, the advice is the same
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return None, reason
