"""The paper's target datasets: Table 3 for transfer, CD-FSL for few-shot (its EuroSAT is in `sources`).

A part of the table in `sources`, from which all else reads it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from seal.data import lists
from seal.data.archives import Member, Members, open_archives
from seal.data.layouts import class_folders
from seal.data.source import Archive, Source

LISTS = {".csv", ".mat", ".txt"}  # published as plain files beside the archives

# Of images_001.tar.gz to images_012.tar.gz: bytes, and the md5 of the publisher's FAQ_CHESTXRAY.pdf.
CHESTX_IMAGES = (
    (2_008_470_987, "fe8ed0a6961412fddcbb3603c11b3698"),
    (3_952_623_504, "ab07a2d7cbe6f65ddd97b4ed7bde10bf"),
    (3_929_234_850, "2301d03bde4c246388bad3876965d574"),
    (3_838_903_983, "9f1b7f5aae01b13f4bc8e2c44a4b8ef6"),
    (3_935_496_531, "1861f3cd0ef7734df8104f2b0309023b"),
    (3_986_301_172, "456b53a8b351afd92a35bc41444c58c8"),
    (4_016_328_426, "1075121ea20a137b87f290d6a4a5965e"),
    (4_018_347_353, "b61f34cec3aa69f295fbb593cbd9d443"),
    (4_111_327_929, "442a3caa61ae9b64e61c561294d1e183"),
    (4_181_556_296, "09ec81c4c31e32858ad8cf965c494b74"),
    (4_187_084_020, "499aefc67207a5a97692424cf5dbeed5"),
    (2_914_187_733, "dc9fda1757c2de0032b63347a7d2895c"),
)

# PlantVillage's images of each class. The benchmark's copy has ceil(4/5) of each in dataset/train: its 43,456 in all.
PLANT_VILLAGE = {
    "Apple___Apple_scab": 630, "Apple___Black_rot": 621, "Apple___Cedar_apple_rust": 275, "Apple___healthy": 1645,
    "Blueberry___healthy": 1502, "Cherry_(including_sour)___Powdery_mildew": 1052,
    "Cherry_(including_sour)___healthy": 854, "Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot": 513,
    "Corn_(maize)___Common_rust_": 1192, "Corn_(maize)___Northern_Leaf_Blight": 985, "Corn_(maize)___healthy": 1162,
    "Grape___Black_rot": 1180, "Grape___Esca_(Black_Measles)": 1383,
    "Grape___Leaf_blight_(Isariopsis_Leaf_Spot)": 1076, "Grape___healthy": 423,
    "Orange___Haunglongbing_(Citrus_greening)": 5507, "Peach___Bacterial_spot": 2297, "Peach___healthy": 360,
    "Pepper,_bell___Bacterial_spot": 997, "Pepper,_bell___healthy": 1478, "Potato___Early_blight": 1000,
    "Potato___Late_blight": 1000, "Potato___healthy": 152, "Raspberry___healthy": 371, "Soybean___healthy": 5090,
    "Squash___Powdery_mildew": 1835, "Strawberry___Leaf_scorch": 1109, "Strawberry___healthy": 456,
    "Tomato___Bacterial_spot": 2127, "Tomato___Early_blight": 1000, "Tomato___Late_blight": 1909,
    "Tomato___Leaf_Mold": 952, "Tomato___Septoria_leaf_spot": 1771,
    "Tomato___Spider_mites Two-spotted_spider_mite": 1676, "Tomato___Target_Spot": 1404,
    "Tomato___Tomato_Yellow_Leaf_Curl_Virus": 5357, "Tomato___Tomato_mosaic_virus": 373, "Tomato___healthy": 1591,
}  # fmt: skip


@contextmanager
def open_with_lists(paths: Sequence[Path]) -> Iterator[Members]:
    """Archives, and the plain lists beside them, in one name space; a list is a file at its top."""
    packed, plain = [], {}
    for path in paths:
        if path.suffix in LISTS:
            plain[path.name] = Member(path.name, path.stat().st_size, path.name, path.read_bytes)
        else:
            packed.append(path)

    with open_archives(packed) as members:
        yield members | plain


FLOWERS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"
DOGS = "http://vision.stanford.edu/aditya86/ImageNetDogs"
ISIC = "https://isic-archive.s3.amazonaws.com/challenges/2018/ISIC2018_Task3_Training"

TARGETS = {
    "flowers_102": Source(
        homepage=f"{FLOWERS}/",
        licence="none is stated; photographs collected from the web, for research",
        archives=(  # sizes: tensorflow_datasets; checksums: torchvision
            Archive("102flowers.tgz", 344_862_509, "52808999861908f626f3c1f4e79d11fa", url=f"{FLOWERS}/102flowers.tgz"),
            Archive("imagelabels.mat", 502, "e0620be6f572b9609742df49c70aed4d", url=f"{FLOWERS}/imagelabels.mat"),
            Archive("setid.mat", 14_989, "a5357ecc9cb78c4bef273ce3793fc85c", url=f"{FLOWERS}/setid.mat"),
        ),
        classes=102,
        per_class={"train": 10, "val": 10},
        images={"train": 1020, "val": 1020, "test": 6149},
        layout=lists.flowers_102,
        open=open_with_lists,
    ),
    "cub_200_2011": Source(
        homepage="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        licence="non-commercial research and education",
        archives=(
            Archive(
                "CUB_200_2011.tgz",
                1_150_585_339,
                md5="97eceeb196236b17998738112f37df78",
                url="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            ),
        ),
        root="CUB_200_2011",
        classes=200,
        images={"train": 5994, "test": 5794},
        layout=lists.cub_200_2011,
    ),
    "fgvc_aircraft": Source(
        homepage="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        licence="non-commercial research; the photographers keep their copyright",
        archives=(
            Archive(
                "fgvc-aircraft-2013b.tar.gz",
                2_753_340_328,
                md5="d4acdd33327262359767eeaa97a4f732",
                url="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
            ),
        ),
        root="fgvc-aircraft-2013b/data",
        classes=100,
        images={"train": 3334, "val": 3333, "test": 3333},
        layout=lists.fgvc_aircraft,
    ),
    "mit_indoor_67": Source(
        homepage="https://web.mit.edu/torralba/www/indoor.html",
        licence="research only",
        archives=(
            Archive(
                "indoorCVPR_09.tar",
                2_592_010_240,
                url="http://groups.csail.mit.edu/vision/LabelMe/NewImages/indoorCVPR_09.tar",
            ),
            Archive("TrainImages.txt", None, url="https://web.mit.edu/torralba/www/TrainImages.txt"),
            Archive("TestImages.txt", None, url="https://web.mit.edu/torralba/www/TestImages.txt"),
        ),
        instructions="get indoorCVPR_09.tar, TrainImages.txt and TestImages.txt from "
        "https://web.mit.edu/torralba/www/indoor.html; where the archive's address no longer answers, a tar of that "
        "name with Images/CLASS/*.jpg from another copy is taken too, but from the folder of SEAL_DATA_MIRROR alone",
        classes=67,
        images={"train": 5360, "test": 1340},
        layout=lists.mit_indoor_67,
        open=open_with_lists,
    ),
    "stanford_dogs": Source(
        homepage=f"{DOGS}/",
        licence="images from ImageNet: its terms of access, non-commercial research and education",
        archives=(  # checksums: tensorflow_datasets
            Archive(
                "images.tar",
                793_579_520,
                sha256="a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
                url=f"{DOGS}/images.tar",
            ),
            Archive(
                "lists.tar",
                481_280,
                sha256="34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c",
                url=f"{DOGS}/lists.tar",
            ),
        ),
        classes=120,
        per_class={"train": 100},
        images={"train": 12_000, "test": 8580},
        layout=lists.stanford_dogs,
    ),
    "isic_2018": Source(
        homepage="https://challenge.isic-archive.com/data/#2018",
        licence="CC BY-NC 4.0; HAM10000, Tschandl et al. 2018",
        archives=(
            Archive("ISIC2018_Task3_Training_Input.zip", 2_771_732_744, url=f"{ISIC}_Input.zip"),
            # The server's ETag, which is the md5 of a file that was put there in one piece.
            Archive(
                "ISIC2018_Task3_Training_GroundTruth.zip",
                None,
                md5="8302427e4ce0c107559531b9f444abe9",
                url=f"{ISIC}_GroundTruth.zip",
            ),
        ),
        mirror_names=("ISIC2018_Task3.tar",),
        instructions="from https://challenge.isic-archive.com/data/#2018, Task 3, get the training data and the "
        "training ground truth: ISIC2018_Task3_Training_Input.zip and ISIC2018_Task3_Training_GroundTruth.zip",
        classes=7,
        per_class={"": {"AKIEC": 327, "BCC": 514, "BKL": 1099, "DF": 115, "MEL": 1113, "NV": 6705, "VASC": 142}},
        layout=lists.isic_2018,
    ),
    "chestx_ray8": Source(
        homepage="https://nihcc.app.box.com/v/ChestXray-NIHCC",
        licence="unrestricted; link the homepage, acknowledge the NIH Clinical Center, cite Wang et al. 2017",
        archives=(
            Archive("Data_Entry_2017_v2020.csv", None),
            *(
                Archive(f"images_{number:03d}.tar.gz", size, md5)
                for number, (size, md5) in enumerate(CHESTX_IMAGES, start=1)
            ),
        ),
        instructions="from https://nihcc.app.box.com/v/ChestXray-NIHCC get Data_Entry_2017_v2020.csv and, in its "
        "folder `images`, images_001.tar.gz to images_012.tar.gz (45 GB in all; no account is needed)",
        classes=7,
        per_class={
            "": {
                "Atelectasis": 4215, "Cardiomegaly": 1093, "Effusion": 3955, "Infiltration": 9547, "Mass": 2139,
                "Nodule": 2705, "Pneumothorax": 2194,
            }
        },
        layout=lists.chestx_ray8,
        open=open_with_lists,
    ),
    "crop_disease": Source(
        homepage="https://www.kaggle.com/datasets/saroz014/plant-disease",
        licence="PlantVillage: CC BY-SA 3.0, Hughes and Salathe 2015",
        archives=(Archive("plant-disease.zip", None),),
        instructions="log in at https://www.kaggle.com, and get plant-disease.zip from "
        "https://www.kaggle.com/datasets/saroz014/plant-disease (Download; rename archive.zip), "
        "or by `kaggle datasets download -d saroz014/plant-disease`",
        root="dataset/train",
        classes=38,
        per_class={"": {name: -(-4 * count // 5) for name, count in PLANT_VILLAGE.items()}},
        layout=class_folders,
    ),
}  # fmt: skip
