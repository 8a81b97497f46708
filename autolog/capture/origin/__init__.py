"""Where a run comes from: code, program, machine. Unlike the rest of capture, it starts git and reads files.

Imports point one way: `provenance` puts everything together, `program` and `git` describe one part each, and
all of them fill a `Provenance`, which is in `result`. `project` and `place` stand apart: they take no time.
"""
