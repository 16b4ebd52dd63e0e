"""The acceptance: what a person with a card runs to prove this code on it (docs/gpu.md).

`seal accept --out FILE`, or `python -m seal.accept` where the core alone is installed: no dataset, no network.
"""
