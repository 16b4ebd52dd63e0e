"""Networks of today by name: their splits against counts from the papers' tables, and names that are wrong."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from seal import split_parameters
from seal.errors import UserError
from seal.networks import build_named
from seal.split_shown import options_of, show_split

# Parameters of a convolution without bias, a normalisation, and a linear layer.


def conv(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel**2


def norm(*channels: int) -> int:
    return 2 * sum(channels)


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def bottleneck(inputs: int, width: int, outputs: int) -> int:
    body = conv(inputs, width, 1) + conv(width, width, 3) + conv(width, outputs, 1) + norm(width, width, outputs)
    return body + (conv(inputs, outputs, 1) + norm(outputs) if inputs != outputs else 0)


def basic(inputs: int, outputs: int) -> int:
    body = conv(inputs, outputs, 3) + conv(outputs, outputs, 3) + norm(outputs, outputs)
    return body + (conv(inputs, outputs, 1) + norm(outputs) if inputs != outputs else 0)


def dense_block(inputs: int, layers: int) -> int:
    """Growth 32, bottlenecks of 128; a normalisation before each convolution (Huang et al. 2017)."""
    count = 0
    for channels in range(inputs, inputs + 32 * layers, 32):
        count += norm(channels) + conv(channels, 128, 1) + norm(128) + conv(128, 32, 3)
    return count


def transition(inputs: int) -> int:
    return norm(inputs) + conv(inputs, inputs // 2, 1)


def inverted(inputs: int, wide: int, outputs: int, kernel: int, squeeze: int) -> int:
    """A block of MobileNetV3: 1x1 where it widens, depthwise, squeeze and excitation where it has that, 1x1."""
    count = conv(wide, 1, kernel) + norm(wide) + conv(wide, outputs, 1) + norm(outputs)
    count += conv(inputs, wide, 1) + norm(wide) if wide != inputs else 0
    return count + (linear(wide, squeeze) + linear(squeeze, wide) if squeeze else 0)


def encoder_block(width: int, mlp: int) -> int:
    """Of a vision transformer, which normalises first: queries, keys, values and their projection, and an MLP."""
    attention = linear(width, 3 * width) + linear(width, width)
    return 2 * norm(width) + attention + linear(width, mlp) + linear(mlp, width)


def next_block(width: int) -> int:
    """A block of ConvNeXt: depthwise 7x7, LayerNorm, two linear layers, a scale for each channel."""
    return conv(width, 1, 7) + width + norm(width) + linear(width, 4 * width) + linear(4 * width, width) + width


STEM = conv(3, 64, 7) + norm(64)
CONVNEXT = conv(3, 96, 4) + 96 + norm(96) + 3 * next_block(96) + norm(96) + conv(96, 192, 2) + 192 + 3 * next_block(192)
MOBILENET = (
    conv(3, 16, 3) + norm(16) + inverted(16, 16, 16, 3, 8) + inverted(16, 72, 24, 3, 0) + inverted(24, 88, 24, 3, 0)
    + inverted(24, 96, 40, 5, 24) + 2 * inverted(40, 240, 40, 5, 64) + inverted(40, 120, 48, 5, 32)
    + inverted(48, 144, 48, 5, 40)
)  # fmt: skip
# Name, options, where the late side begins, the early side's parameters, all of them.
SPLITS = [
    ("resnet34", {}, "layer3", STEM + 3 * basic(64, 64) + basic(64, 128) + 3 * basic(128, 128), 21_797_672),
    (
        "resnet101", {}, "layer3",
        STEM + bottleneck(64, 64, 256) + 2 * bottleneck(256, 64, 256) + bottleneck(256, 128, 512)
        + 3 * bottleneck(512, 128, 512),
        44_549_160,
    ),
    (
        "wide_resnet50_2", {}, "layer2",
        STEM + bottleneck(64, 128, 256) + 2 * bottleneck(256, 128, 256),
        68_883_240,
    ),
    (
        "densenet121", {}, "features.denseblock3",
        STEM + dense_block(64, 6) + transition(256) + dense_block(128, 12) + transition(512),
        7_978_856,
    ),
    ("mobilenet_v3_small", {}, "features.9", MOBILENET, 2_542_856),
    (
        "vit_b_16", {"image_size": 64}, "encoder.layers.encoder_layer_6",
        conv(3, 768, 16) + 768 + 768 + (16 + 1) * 768 + 6 * encoder_block(768, 3072),
        86_567_656 - (197 - 17) * 768,
    ),
    ("vit_b_16", {"image_size": 64}, "encoder", conv(3, 768, 16) + 768 + 768 + 17 * 768, 86_567_656 - 180 * 768),
    ("convnext_tiny", {}, "features.4", CONVNEXT, 28_589_128),
    ("convnext_tiny", {}, "features.3.2", CONVNEXT - next_block(192), 28_589_128),
]  # fmt: skip

FILE = """
from torch import nn


def tiny(width=3):
    return nn.Sequential(nn.Conv2d(3, width, 1), nn.Conv2d(width, 9, 1))
"""


@pytest.mark.parametrize(("name", "options", "at", "early", "whole"), SPLITS)
def test_the_sides_of_a_network_are_as_counted_by_hand(
    name: str, options: dict[str, int], at: str, early: int, whole: int
) -> None:
    """`whole` is what torchvision's page of the network's weights says, for 1000 classes."""
    with torch.device("meta"):
        network = build_named(f"torchvision:{name}", options)
        sides = split_parameters(network, at, torch.zeros(1, 3, 64, 64))
    assert sum(value.numel() for value in network.parameters()) == whole
    assert sum(value.numel() for value in sides.early.values()) == early
    assert sum(value.numel() for value in sides.late.values()) == whole - early


def test_a_file_of_ones_own_builds_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    show_split(f"{path}:tiny", "1", 8, ["width=5"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"running {path}"
    assert [line.split() for line in lines[2:]] == [
        ["early", "2", "20", "27.0%", "0.weight"],
        ["late", "2", "54", "73.0%", "1.weight"],
    ]


VIT = {"image_size": 8, "patch_size": 4, "num_layers": 1, "num_heads": 1, "hidden_dim": 4, "mlp_dim": 4}


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet50", {}, "expected torchvision:NAME or path/to/file.py:function"),
        ("torchvision:resnet_50", {}, "has no network 'resnet_50', expected one such as resnet50"),
        ("torchvision:resnet18", {"depth": 3}, "resnet18 can't be built with depth=3: .*unexpected keyword"),
        ("torchvision:vit_b_16", {"image_size": 60}, "can't be built with image_size=60: AssertionError: .*divisible"),
        ("torchvision:VisionTransformer", VIT | {"patch_size": 0}, "can't be built with .*: ZeroDivisionError: "),
        ("torchvision:resnet18", {"num_classes": -1}, "can't be built with num_classes=-1: RuntimeError: .*negative"),
        ("{folder}/good.py:lost", {}, r"good\.py:lost can't be built with no options: KeyError: 'x'$"),
        ("{folder}/good.py:bare", {}, r"can't be built with no options: AssertionError: AssertionError$"),
        ("nothing.py:net", {}, r"nothing\.py: not found, expected a Python file with the function net"),
        ("{folder}/broken.py:net", {}, r"broken\.py can't be run: SyntaxError"),
        ("{folder}/good.py:buld", {}, r"good\.py has no function buld, expected one such as build"),
        ("{folder}/good.py:number", {}, r"good\.py:number is a int, expected a torch\.nn\.Module"),
    ],
)
def test_a_name_that_is_wrong_is_a_line(tmp_path: Path, name: str, options: dict[str, int], words: str) -> None:
    (tmp_path / "broken.py").write_text("def net(:\n")
    (tmp_path / "good.py").write_text(
        "def build():\n    pass\n\n\ndef number():\n    return 1\n"
        "\n\ndef lost():\n    return {}['x']\n\n\ndef bare():\n    assert not bare\n"
    )
    with pytest.raises(UserError, match=words):
        build_named(name.format(folder=tmp_path), options)


@pytest.mark.parametrize("word", ["width", "=3", "a b=3"])
def test_an_option_is_a_key_and_a_value(word: str) -> None:
    with pytest.raises(UserError, match="expected KEY=VALUE"):
        options_of([word])
    assert options_of(["image_size=64", "stem=small", "blocks=[2, 2]"]) == {
        "image_size": 64, "stem": "small", "blocks": [2, 2],
    }  # fmt: skip


@pytest.mark.parametrize("word", ["image_size=[1", "a={b: 1, b: 2}", "a=: :", "a=2001-13-13"])
def test_an_option_that_is_no_yaml_is_a_line(word: str) -> None:
    with pytest.raises(UserError, match=f"^--option {re.escape(word)}: .*; give KEY=VALUE, as") as refused:
        options_of([word])
    assert "\n" not in str(refused.value)


ASSERTS = """
from torch import nn

class Square(nn.Sequential):
    def forward(self, x):
        assert x.shape[-1] == 32
        return super().forward(x)

def square():
    return Square(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
"""


def test_an_image_that_does_not_fit_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ASSERTS)
    with pytest.raises(UserError, match="vit_b_16, on an image of 64x64: Wrong image height"):
        show_split("torchvision:vit_b_16", "encoder", 64, [])
    with pytest.raises(UserError, match=r"square, on an image of 64x64: AssertionError$"):
        show_split(f"{tmp_path}/mine.py:square", "1", 64, [])


def test_a_network_of_our_own_is_split_the_same_by_either_order() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    assert split_parameters(network, "2") == split_parameters(network, "2", torch.zeros(1, 3, 4, 4))
