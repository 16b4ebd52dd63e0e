"""What the plan says of a GPU: assumptions, not measurements. Nothing here has run on one."""

from collections.abc import Iterable

from seal.measure import Work

ASSUMED_GPU = "one data-centre GPU"
# ResNet-50 on 64x64 images in batches of 32 is bound by kernel launches more than by arithmetic, so a larger GPU gains
# little.
IMAGES_PER_SECOND = 1000.0  # trained
GFLOPS = 10_000.0  # float32


def gpu_hours(costs: Iterable[Work]) -> float:
    return sum(cost.time(IMAGES_PER_SECOND, GFLOPS) for cost in costs) / 3600


def gpu_estimate(costs: Iterable[Work]) -> str:
    return (
        f"On {ASSUMED_GPU}: {gpu_hours(costs):,.0f} GPU-hours. Assumed, not measured: "
        f"{IMAGES_PER_SECOND:,.0f} images/s trained, {GFLOPS:,.0f} GFLOP/s of float32, "
        "and evaluations' small steps as on a CPU."
    )
