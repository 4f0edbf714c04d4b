"""What is kept on disk: finished tasks under their ids, whole or not at all; never what they mean."""
