"""The evaluation classifiers by name, and the files of one. Imports nothing."""

CLASSIFIERS = ("digits", "digits-plain", "mnist", "mnist-plain", "fashion-mnist", "cifar10", "stl10")
"""A classifier has its data set's name; a plain one was shown no pictures of nothing."""
CARD_FILE, WEIGHTS_FILE = "oracle.json", "classifier.safetensors"
"""The card's name is that which evaluators look for in a folder with a classifier."""
HEAD = "class"
