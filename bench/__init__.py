"""The harness: plan, store, executor, leaderboard, tables and the command line."""

__version__ = "0.1.0"
