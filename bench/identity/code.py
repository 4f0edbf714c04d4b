"""How an id names code: by its version where the code here is the accepted one, else by its digest."""

from erasure_bench.bench.identity.table import Kind, accepted, bound, digest_of
from erasure_bench.foreign.sources import code_digest


def code_of(kind: Kind, name: str, module: str) -> str:
    """Name and version of what is registered, where the table knows the digest of its code; else that digest.

    So someone who changes code never gets a result of the code before, while a change that was
    shown to change no number keeps all results. `module` is where the code lies: something of the
    same name from elsewhere is named by its digest. Raises as `code_digest` does.
    """
    if bound(kind).get(name) != module:
        return code_digest(module)
    digest, entry = digest_of(kind, name), accepted(kind).get(name)
    return digest if entry is None or entry.code != digest else f"{name} {entry.version}"


def code_of_part(name: str) -> str:
    """The same for one of `table.PARTS`."""
    return code_of("part", name, bound("part")[name])


def code_of_maker(module: str) -> str:
    """The same for the module that makes what edits share, a user's among them."""
    name = next((part for part, its_module in bound("part").items() if its_module == module), "")
    return code_of("part", name, module)
