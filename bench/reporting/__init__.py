"""What is made of the scores: intervals, leaderboards, tables, and the files of a run."""
