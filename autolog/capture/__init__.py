"""Pure functions: a value in, something loggable out. No run, no training loop, no framework."""
