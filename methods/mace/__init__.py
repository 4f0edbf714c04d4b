"""MACE: a closed form, adapters that look away, and a closed form that makes them one."""
