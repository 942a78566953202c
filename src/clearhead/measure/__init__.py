"""Numbers from arrays: scores, intervals, baselines."""
