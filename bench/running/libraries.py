"""Other people's libraries, kept from talking into our progress display."""


def quiet_libraries() -> None:
    """Silences the hints and loading bars of diffusers and transformers; their errors still raise."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
