"""Runs and trainings: how they are set up, opened, found, kept and ended. Frameworks stand in the catalogue."""
