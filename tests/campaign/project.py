"""A project of 32 images of 8x8, packed, trained and evaluated in seconds: what each case begins with."""

import contextlib
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make_project(root: Path) -> Path:
    from eval import prediction_depth
    from eval.claims.__main__ import main as judge
    from seal.data import fetch, packing
    from seal.train import main as train
    from tests.small_project import make_images, write_params

    with contextlib.chdir(root):
        make_images(root)
        shutil.copytree(ROOT / "params", "params")
        shutil.copyfile(ROOT / "folders.json", "folders.json")
        write_params(main_arms=["seal", "llf"], seeds=[0])
        fetch.main(["mine"])
        packing.main(["mine"])
        for run in ("normal-0", "seal-0", "llf-0"):
            train(["--run", run])
        prediction_depth.main(["--run", "normal-0"])
        judge(["--out", "claims/claims.json"])
    return root
