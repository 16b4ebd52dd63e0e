"""SEAL: simulated annealing in early layers, trained by generations (CVPR 2023)."""

from typing import TYPE_CHECKING

from seal.interruption import end_well_while_importing

if TYPE_CHECKING:
    from seal.forgetting import Forgetting as Forgetting
    from seal.optim import SignedSGD as SignedSGD
    from seal.split import split_parameters as split_parameters

__all__ = ["Forgetting", "SignedSGD", "split_parameters"]

end_well_while_importing()


def __getattr__(name: str) -> object:
    # Importing torch takes seconds; the stages and commands that never use it should not wait for it.
    if name == "Forgetting":
        from seal.forgetting import Forgetting

        return Forgetting
    if name == "SignedSGD":
        from seal.optim import SignedSGD

        return SignedSGD
    if name == "split_parameters":
        from seal.split import split_parameters

        return split_parameters
    raise AttributeError(f"module 'seal' has no attribute {name!r}")
