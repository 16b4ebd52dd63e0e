"""What the plan knows of this machine."""

from dataclasses import dataclass

from seal.measure import NetworkSize


@dataclass(frozen=True)
class Machine:
    """Its rates for the active model, and the model's sizes."""

    images_per_second: float  # trained
    gflops: float  # of float32 matrix products
    start_seconds: float  # from a stage's command to its first line: Python and its imports
    network: NetworkSize
