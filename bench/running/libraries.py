"""Other people's libraries, kept from talking into our progress display."""

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
