"""Runs and trainings: how they are opened, found, kept and ended. Frameworks are named in the catalogue."""
