"""What any guest in somebody else's process needs: shields, hooks, threads, signals, forks. Knows no run."""
