"""Evaluations of trained networks; claims and the report, which read what they found."""

import seal as seal  # first of all, for a stage's sake: see there
