"""Attacks and probes: ways to bring an erased concept back, and the control that each stands beside."""
