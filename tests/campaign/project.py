"""A project of 32 images of 8x8, packed, trained and evaluated in seconds: what each case begins with."""

import contextlib
from pathlib import Path

import torch
from PIL import Image

from seal.rng import stream


def make_project(root: Path) -> Path:
    from eval import prediction_depth
    from seal.data import fetch, packing
    from seal.train import main as train
    from tests.test_train_stage import write_params

    with contextlib.chdir(root):
        for name in ("cat", "dog"):
            (root / "images" / name).mkdir(parents=True)
            for position in range(16):
                pixels = torch.randint(256, (8, 8, 3), dtype=torch.uint8, generator=stream(position, name))
                Image.fromarray(pixels.numpy()).save(root / "images" / name / f"{position}.png")
        write_params()
        fetch.main(["mine"])
        packing.main(["mine"])
        for run in ("normal-0", "seal-0", "llf-0"):
            train(["--run", run])
        prediction_depth.main(["--run", "normal-0"])
    return root
