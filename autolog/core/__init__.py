"""The core: the seam, runs, settings. Knows no framework by name but in the catalogue."""
