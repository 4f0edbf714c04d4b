"""Generators that are asked by a class's name: a variational autoencoder, and diffusion of pixels."""
