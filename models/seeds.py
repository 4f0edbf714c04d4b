"""The seed of an image: apart from the noise itself, so that a plan needs no torch."""

import hashlib


def image_seed(suite: str, prompt_id: str, image_index: int, seed: int) -> int:
    """A seed in [0, 2^63) for one image of a suite: the first 63 bits of a SHA-256 over the four values."""
    key = "\0".join((suite, prompt_id, str(image_index), str(seed)))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1
