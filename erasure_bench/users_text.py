"""Text in files that users write."""

from erasure_bench.errors import BenchError


def decoded(content: bytes, where: str) -> str:
    """The text of a UTF-8 file; raises BenchError with `where` and the line for what is none."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BenchError(f"{where}:1: is UTF-16: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BenchError(
            f"{where}:{line}: is no UTF-8 (byte 0x{content[error.start]:02x}): save it as UTF-8"
        ) from error
