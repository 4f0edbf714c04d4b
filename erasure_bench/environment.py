"""What the process' environment tells other people's libraries: send nothing home; if asked, stay offline.

They read it while they are imported, so the package sets it before any other module of ours is loaded:
for the command line, for studies and for whoever imports a single room.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

OFFLINE_VARIABLE = "BENCH_OFFLINE"
"""Set to 1 it is `bench --offline` for everything in the process and in those that it starts."""

SEND_NOTHING = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "DO_NOT_TRACK": "1",
}
"""onnxruntime makes a device id and a queue of events in the user's cache as soon as it is imported."""

_HUB_OFFLINE = "HF_HUB_OFFLINE"
_YES = {"1", "on", "yes", "true"}
_why = ContextVar("why", default=f"--offline or {OFFLINE_VARIABLE} is set")


def send_nothing_home() -> None:
    """Switches telemetry off, unless the user's own environment says otherwise."""
    for variable, value in SEND_NOTHING.items():
        os.environ.setdefault(variable, value)


def go_offline() -> None:
    """From here on nothing of ours asks the network, and neither do the hub's libraries."""
    os.environ[OFFLINE_VARIABLE] = os.environ[_HUB_OFFLINE] = "1"
    _tell_the_hub(True)


def is_offline() -> bool:
    """Whether the run was asked to stay offline."""
    return _is_yes(OFFLINE_VARIABLE)


def why_offline() -> str | None:
    """What to say where something would have been fetched; None where it may be."""
    return f"offline: {_why.get()}" if is_offline() else None


def why_hub_is_off() -> str | None:
    """The same for what the hub's client would fetch, which may have been told so in its own words."""
    from huggingface_hub import constants

    return why_offline() or (f"offline: {_HUB_OFFLINE} is set" if constants.HF_HUB_OFFLINE else None)


@contextmanager
def offline(why: str) -> Iterator[None]:
    """`go_offline` for a while; `why` is what is said where something would have been fetched."""
    before = {name: os.environ.get(name) for name in (OFFLINE_VARIABLE, _HUB_OFFLINE)}
    said = _why.set(why)
    go_offline()
    try:
        yield
    finally:
        _why.reset(said)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        _tell_the_hub(_is_yes(_HUB_OFFLINE))


def _is_yes(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in _YES


def _tell_the_hub(is_off: bool) -> None:
    """Its client reads the variable only while it is imported."""
    if hub := sys.modules.get("huggingface_hub.constants"):
        hub.HF_HUB_OFFLINE = is_off  # type: ignore[attr-defined]
