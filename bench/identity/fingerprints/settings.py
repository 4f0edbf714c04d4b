"""Settings of a method or an attack, as a fingerprint keeps them."""

import dataclasses
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from erasure_bench.bench.identity.fingerprints import Json, NoLonger
from erasure_bench.bench.identity.ids import plain
from erasure_bench.errors import BenchError


def built(build: type, settings: Json) -> Any:
    """What `build` makes of them; raises NoLonger where they are none of its settings any more."""
    types = get_type_hints(build, include_extras=True)
    try:
        values = {key: TypeAdapter(types[key]).validate_python(value) for key, value in settings.items()}
        return build(**values)
    except (KeyError, ValidationError, BenchError) as error:
        raise NoLonger(f"{type(error).__name__}: {error}") from error


def defaults_of(build: type) -> Json:
    """The settings that nobody needs to name."""
    return {
        field.name: plain(field.default)
        for field in dataclasses.fields(build)
        if field.init and field.default is not dataclasses.MISSING
    }
