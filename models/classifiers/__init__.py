"""Evaluation classifiers of the data sets: what says which class a class-conditional generator has drawn."""
