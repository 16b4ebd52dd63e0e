"""The target datasets in small: the official archives with few images, and what their loaders give.

A new target is an entry of SMALL; the tests of targets run over it.
"""

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from seal.data.sources import SOURCES, Archive
from seal.data.targets import TARGETS
from seal.sections import Dataset, SplitFractions
from tests.fixtures_data import image_bytes, write_tar, write_zip

Files = dict[str, bytes]


def mat(**variables: object) -> bytes:
    file = io.BytesIO()
    savemat(file, variables)
    return file.getvalue()


def cells(texts: list[str]) -> np.ndarray:
    """A column of texts, as MATLAB writes a cell array."""
    column = np.empty((len(texts), 1), object)
    column[:, 0] = texts
    return column


def table(header: str, *rows: str) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def pictures(*names: str, kind: str = "JPEG") -> Files:
    return {name: image_bytes(seed, kind=kind) for seed, name in enumerate(names)}


@dataclass(frozen=True)
class Small:
    """A dataset in small."""

    archives: Mapping[str, Files | bytes]  # of each official archive its files, or a plain list's content
    loaded: Mapping[str, tuple[str, str]]  # file to (class, split): what its loader gives


FLOWERS = {
    "102flowers.tgz": pictures(*(f"jpg/image_{number:05d}.jpg" for number in range(1, 7))),
    "imagelabels.mat": mat(labels=np.array([[2, 1, 2, 1, 1, 2]], np.uint8)),
    "setid.mat": mat(
        trnid=np.array([[6, 2]], np.uint16), valid=np.array([[3]], np.uint16), tstid=np.array([[1, 4, 5]], np.uint16)
    ),
}
CUB = {
    "CUB_200_2011.tgz": {
        "attributes.txt": b"1 has_bill_shape::curved\n",
        "CUB_200_2011/README": b"",
        "CUB_200_2011/classes.txt": b"1 001.Albatross\n2 002.Wren\n",
        "CUB_200_2011/images.txt": b"1 001.Albatross/A_1.jpg\n2 001.Albatross/A_2.jpg\n3 002.Wren/W_7.jpg\n",
        "CUB_200_2011/image_class_labels.txt": b"1 1\n2 1\n3 2\n",
        "CUB_200_2011/train_test_split.txt": b"1 0\n2 1\n3 1\n",
        **pictures(*(f"CUB_200_2011/images/{name}" for name in ("001.Albatross/A_1.jpg", "001.Albatross/A_2.jpg"))),
        **pictures("CUB_200_2011/images/002.Wren/W_7.jpg"),
    }
}
AIRCRAFT = {
    "fgvc-aircraft-2013b.tar.gz": {
        "fgvc-aircraft-2013b/README.md": b"",
        "fgvc-aircraft-2013b/data/variants.txt": b"737-200\nF/A-18\nFalcon 900\n",
        "fgvc-aircraft-2013b/data/families.txt": b"Boeing 737\n",
        "fgvc-aircraft-2013b/data/images_variant_train.txt": b"0034309 Falcon 900\n1025794 F/A-18\n",
        "fgvc-aircraft-2013b/data/images_variant_val.txt": b"1340192 737-200\n",
        "fgvc-aircraft-2013b/data/images_variant_trainval.txt": b"0034309 Falcon 900\n1340192 737-200\n",
        "fgvc-aircraft-2013b/data/images_variant_test.txt": b"0056978 F/A-18\n",
        **pictures(*(f"fgvc-aircraft-2013b/data/images/{n}.jpg" for n in ("0034309", "1025794", "1340192", "0056978"))),
    }
}
INDOOR = {
    "indoorCVPR_09.tar": pictures(
        *(f"Images/{name}.jpg" for name in ("mall/shopping mall", "mall/m2", "mall/unlisted", "bar/b1", "bar/b2"))
    ),
    "TrainImages.txt": b"mall/shopping mall.jpg\nbar/b2.jpg",
    "TestImages.txt": b"bar/b1.jpg\r\nmall/m2.jpg\r\n",
}
DOG_FILES = ["n01-Pug/n01_1.jpg", "n01-Pug/n01_2.jpg", "n02-Old_English/n02_1.jpg", "n02-Old_English/n02_9.jpg"]
DOGS = {
    "images.tar": pictures(*(f"Images/{name}" for name in DOG_FILES)),
    "lists.tar": {
        "file_list.mat": mat(file_list=cells(DOG_FILES), labels=np.array([[1], [1], [2], [2]], np.uint8)),
        "train_list.mat": mat(file_list=cells(DOG_FILES[1:3]), labels=np.array([[1], [2]], np.uint8)),
        "test_list.mat": mat(file_list=cells([DOG_FILES[0], DOG_FILES[3]]), labels=np.array([[1], [2]], np.uint8)),
    },
}
TRUTH = "ISIC2018_Task3_Training_GroundTruth"
SKIN = {
    "ISIC2018_Task3_Training_Input.zip": {
        "ISIC2018_Task3_Training_Input/ATTRIBUTION.txt": b"",
        **pictures(*(f"ISIC2018_Task3_Training_Input/ISIC_{number}.jpg" for number in (1, 2, 3))),
    },
    f"{TRUTH}.zip": {
        f"{TRUTH}/{TRUTH}.csv": table("image,MEL,NV", "ISIC_1,0.0,1.0", "ISIC_2,1.0,0.0", "ISIC_3,0.0,1.0")
    },
}
CHEST_HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,OriginalImage[Width,Height]"
CHEST = {
    "Data_Entry_2017_v2020.csv": table(
        CHEST_HEADER,
        "00000001_000.png,Cardiomegaly,0,1,2682,2749",
        "00000001_001.png,Cardiomegaly|Emphysema,1,1,2894,2729",
        "00000002_000.png,No Finding,0,2,2500,2048",
        "00000003_000.png,Pneumonia,0,3,2500,2048",
        "00000003_001.png,Hernia,1,3,2500,2048",
        "00000004_000.png,Mass,0,4,2500,2048",
    ),
    "images_001.tar.gz": pictures(*(f"images/00000001_00{number}.png" for number in (0, 1)), kind="PNG"),
    "images_002.tar.gz": pictures(*(f"images/0000000{end}.png" for end in ("2_000", "3_000", "3_001")), kind="PNG"),
    **{f"images_{number:03d}.tar.gz": {} for number in range(3, 12)},
    "images_012.tar.gz": pictures("images/00000004_000.png", kind="PNG"),
}
CROPS = {
    "plant-disease.zip": pictures(
        "dataset/train/Apple___healthy/a 1.JPG", "dataset/train/Pepper,_bell___healthy/Screen Shot 4.01.13 PM.png",
        "dataset/train/Apple___healthy/a 2.jpg", "dataset/test/Apple___healthy/a 3.JPG",
    )
}  # fmt: skip
SMALL = {
    "flowers_102": Small(FLOWERS, {
        "jpg/image_00006.jpg": ("002", "train"), "jpg/image_00002.jpg": ("001", "train"),
        "jpg/image_00003.jpg": ("002", "val"), "jpg/image_00001.jpg": ("002", "test"),
        "jpg/image_00004.jpg": ("001", "test"), "jpg/image_00005.jpg": ("001", "test"),
    }),
    "cub_200_2011": Small(CUB, {
        "images/001.Albatross/A_1.jpg": ("001.Albatross", "test"), "images/002.Wren/W_7.jpg": ("002.Wren", "train"),
        "images/001.Albatross/A_2.jpg": ("001.Albatross", "train"),
    }),
    "fgvc_aircraft": Small(AIRCRAFT, {
        "images/0034309.jpg": ("Falcon 900", "train"), "images/1025794.jpg": ("F/A-18", "train"),
        "images/1340192.jpg": ("737-200", "val"), "images/0056978.jpg": ("F/A-18", "test"),
    }),
    "mit_indoor_67": Small(INDOOR, {
        "Images/mall/shopping mall.jpg": ("mall", "train"), "Images/bar/b2.jpg": ("bar", "train"),
        "Images/bar/b1.jpg": ("bar", "test"), "Images/mall/m2.jpg": ("mall", "test"),
    }),
    "stanford_dogs": Small(DOGS, {
        f"Images/{DOG_FILES[0]}": ("n01-Pug", "test"), f"Images/{DOG_FILES[1]}": ("n01-Pug", "train"),
        f"Images/{DOG_FILES[2]}": ("n02-Old_English", "train"), f"Images/{DOG_FILES[3]}": ("n02-Old_English", "test"),
    }),
    "isic_2018": Small(SKIN, {
        "ISIC2018_Task3_Training_Input/ISIC_1.jpg": ("NV", "train"),
        "ISIC2018_Task3_Training_Input/ISIC_2.jpg": ("MEL", "train"),
        "ISIC2018_Task3_Training_Input/ISIC_3.jpg": ("NV", "train"),
    }),
    "chestx_ray8": Small(CHEST, {
        "images/00000001_000.png": ("Cardiomegaly", "train"), "images/00000004_000.png": ("Mass", "train"),
    }),
    "crop_disease": Small(CROPS, {
        "Apple___healthy/a 1.JPG": ("Apple___healthy", "train"),
        "Apple___healthy/a 2.jpg": ("Apple___healthy", "train"),
        "Pepper,_bell___healthy/Screen Shot 4.01.13 PM.png": ("Pepper,_bell___healthy", "train"),
    }),
}  # fmt: skip


def write(folder: Path, archives: Mapping[str, Files | bytes]) -> None:
    for name, content in archives.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        elif name.endswith(".zip"):
            write_zip(folder / name, content)
        else:
            write_tar(folder / name, content, "" if name.endswith(".tar") else "gz")


def dataset(name: str, **changes) -> Dataset:
    """The parameters that take all of a target, by its official split where it has one."""
    split = "official" if TARGETS[name].images else SplitFractions(test=0, val=0)
    return Dataset(**{"source": name, "image_size": 8, "split": split} | changes)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every target with the counts of its small archive. Nothing is downloaded, and no checksum is known."""
    for name, small in SMALL.items():
        archives = tuple(Archive(archive.name, None) for archive in TARGETS[name].archives)
        classes = Counter(label for label, _ in small.loaded.values())
        splits = Counter(split for _, split in small.loaded.values())

        counts = {"images": dict(splits)} if TARGETS[name].images else {"per_class": {"": dict(classes)}}
        changes = {"archives": archives, "classes": len(classes), "per_class": {}, "images": {}} | counts
        monkeypatch.setitem(SOURCES, name, replace(TARGETS[name], **changes))


def all_files(name: str) -> Files:
    """All files of a small dataset, relative to its root; plain lists at their top."""
    files: Files = {}
    for archive, content in SMALL[name].archives.items():
        files |= {archive: content} if isinstance(content, bytes) else content

    root = TARGETS[name].root
    return {file.removeprefix(f"{root}/"): content for file, content in files.items() if file.startswith(root)}
