"""A bundle: a record with its weights in one file that checks itself.

`bundle.py` writes it, `archive.py` opens it, `check.py` runs one of its evaluations again.
"""
