"""Other people's code: how it is found and imported, what it may touch, and what its errors are called.

Serves methods and evaluators alike, so it lies below every room. Nothing here imports torch.
"""
