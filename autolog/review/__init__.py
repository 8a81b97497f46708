"""Looking back: what was recorded is read, compared, reported and loaded. Knows nothing of recording."""
