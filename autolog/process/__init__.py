"""A guest in somebody else's process: shields, hooks, threads, signals, forks. Knows nothing of runs."""
