"""Many stages at once, on a Slurm cluster or on one machine: `seal submit`, `status`, `gather` and `cancel`.

DVC stays the one description of the pipeline and the one judge of what is done. A job is `dvc repro STAGE` in a
workspace of its own, made from a snapshot, with the project's cache; Slurm or GNU make says when and where.
"""
