"""Erasure methods, one file per family."""
