"""What to try where numbers in a dtype are no longer finite."""

import torch

_WIDER = {torch.float16: "--dtype bfloat16 or float32", torch.bfloat16: "--dtype float32"}


def wider(dtype: torch.dtype) -> str | None:
    """The option that gives numbers more room than they have in `dtype`; None where there is none to give."""
    return _WIDER.get(dtype)
