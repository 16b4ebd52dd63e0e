"""What the plan knows of this machine."""

from dataclasses import dataclass, replace

from seal.measure import Rates


@dataclass(frozen=True)
class Machine:
    """Its rates for the active model and setting, and where that of training comes from."""

    rates: Rates
    start_seconds: float  # from a stage's command to its first line: Python and its imports
    device: str = "cpu"  # where its networks are
    basis: str = "a short calibration"

    def training_at(self, images_per_second: float, basis: str) -> "Machine":
        """The same with another rate of training; measuring between epochs goes with it."""
        measured = self.rates.measured * images_per_second / self.rates.trained
        return replace(self, rates=replace(self.rates, trained=images_per_second, measured=measured), basis=basis)
