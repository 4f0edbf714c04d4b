"""Concept Ablation and the loss-maximisation baseline of its paper."""
