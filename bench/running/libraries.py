"""Other people's libraries: kept from talking into our progress display, and from rounding on their own."""

import logging


def quiet_libraries() -> None:
    """Silences the hints and loading bars of diffusers and transformers, and torch's while it compiles.

    Their errors still raise.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)


def full_precision() -> None:
    """On a GPU float32 is float32, and the same convolution gives the same bits each time.

    Unless told, torch hands convolutions in float32 to TF32, which keeps 10 of the 23 bits, and may choose
    kernels whose sums come in another order each time. Matrix products are left to torch's own setting,
    which is full precision.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
