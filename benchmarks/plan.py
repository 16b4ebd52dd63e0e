"""What the plan says of the stages that have run here, against the time that each took.

    python -m benchmarks.plan [--bound 1.3]

Run it after `make repro`, or after single stages of the active tier, on a machine that was as busy then as it is now.
Prices are the cost model's by a calibration of this moment (of this hour: scratch/calibration.json): earlier runs, by
which `seal plan` corrects itself, are left out. A stage's time is the longest in timings/<stage>.csv by this processor
and as many threads; a training that went on from a resume state has several, and is left out.
"""

import argparse
import statistics
from collections import defaultdict

from seal.config import load_params
from seal.planning.calibration import calibrate
from seal.planning.costs import work
from seal.planning.earlier import rows_of_this_machine
from seal.planning.network import network_of_tier
from seal.planning.setting import setting_of
from seal.planning.stages import in_pipeline_order
from seal.record import TIMINGS
from seal.sections import TRAINING
from seal.stage_names import parts

SHORT = 2.0  # s, below which a stage is shown but not judged: its start takes longer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bound", type=float, default=1.3, help="times, by which a kind of stage may be off")
    bound = parser.parse_args().bound

    params = load_params()
    machine, size = calibrate(params), network_of_tier(params).size
    runs = {*params.run_names()}
    stages = [path.stem for path in TIMINGS.glob("*@*.csv") if parts(path.stem).run in runs]

    took: dict[str, list[float]] = defaultdict(list)
    planned: dict[str, list[float]] = defaultdict(list)
    for stage in in_pipeline_order(stages):
        rows = rows_of_this_machine(TIMINGS / f"{stage}.csv", setting_of(params).threads)
        if len(rows) == 1 or (rows and parts(stage).name not in TRAINING):
            took[parts(stage).name].append(max(float(row["seconds"]) for row in rows))
            planned[parts(stage).name].append(work(stage, params, size).time(machine.rates))

    print(f"tier {params.tier}, {setting_of(params).words}, calibrated to {machine.rates.trained:.0f} images/s\n")
    print("| stage | runs | took, s | planned, s | planned over taken | |\n|---|---|---|---|---|---|")
    for name, seconds in took.items():
        ratios = [plan / real for plan, real in zip(planned[name], seconds, strict=True)]
        median = statistics.median(ratios)
        off = max(median, 1 / median)
        verdict = "short" if statistics.median(seconds) < SHORT else "within" if off <= bound else "OFF"
        print(
            f"| {name} | {len(seconds)} | {statistics.median(seconds):.1f} | {statistics.median(planned[name]):.1f} | "
            f"{median:.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | {verdict} |"
        )


if __name__ == "__main__":
    main()
