"""Labelled pictures that class-conditional generators and their evaluation classifiers are trained on."""
