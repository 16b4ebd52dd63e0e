"""A contact sheet: images of a pack as a network gets them, plain and augmented, class by class. For `seal data`."""

from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from seal.data.batches import Batches
from seal.data.pack import Pack
from seal.record import atomic
from seal.rng import stream
from seal.sections import Training

CLASSES, IMAGES = 12, 4  # rows, and images of each; beside them the same, augmented
SHOWN = 64  # pixels of an image, at least
MARGIN, LINE = 6, 14
GREY = (90, 90, 90)


def write_sheet(path: Path, pack: Pack, training: Training) -> None:
    """The sheet as PNG, the same for the same pack and parameters."""
    split = pack["train"] if len(pack["train"].files) else pack["test"]
    rows = _rows(split.labels, len(pack.classes))
    chosen = torch.cat(list(rows.values()))
    images = split.images[chosen]

    generators = stream(0, "sheet order"), stream(0, "sheet augmentation")
    batches = Batches(
        images, torch.arange(len(chosen)), batch_size=len(chosen), mean=(0, 0, 0), std=(1, 1, 1), flip=training.flip,
        crop_padding=training.crop_padding, device="cpu", channels_last=True,
    )  # fmt: skip
    x, positions = next(batches.epoch(*generators))
    augmented = torch.empty_like(images)
    augmented[positions] = (x.permute(0, 2, 3, 1) * 255).round().to(torch.uint8)

    names = [pack.classes[label] for label in rows]
    _draw(path, names, list(map(len, rows.values())), images, augmented)


def _rows(labels: Tensor, classes: int) -> dict[int, Tensor]:
    """Of the first classes the positions of images, evenly spread over each."""
    rows = {}
    for label in range(min(classes, CLASSES)):
        positions = (labels == label).nonzero().flatten()
        if len(positions):
            steps = torch.linspace(0, len(positions) - 1, min(IMAGES, len(positions))).long()
            rows[label] = positions[steps]
    return rows


def _draw(path: Path, names: list[str], counts: list[int], images: Tensor, augmented: Tensor) -> None:
    scale = max(1, -(-SHOWN // images.shape[1]))
    side = images.shape[1] * scale
    step, second = side + MARGIN, IMAGES * (side + MARGIN) + 2 * MARGIN
    sheet = Image.new("RGB", (second + IMAGES * step + MARGIN, LINE + len(names) * (step + LINE) + MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 1), "packed", GREY)
    pen.text((second, 1), "augmented, as a training sees them", GREY)

    position = 0
    for row, (name, count) in enumerate(zip(names, counts, strict=True)):
        top = LINE + row * (step + LINE)
        pen.text((MARGIN, top), name.encode("ascii", "replace").decode(), "black")
        for column in range(count):
            for left, shown in ((MARGIN, images), (second, augmented)):
                tile = Image.fromarray(shown[position].numpy()).resize((side, side), Image.Resampling.NEAREST)
                sheet.paste(tile, (left + column * step, top + LINE))
            position += 1

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        sheet.save(temporary, "PNG")
