"""Families of what a user writes and brings: params.yaml, folders of images, archives, names, and what harms."""

import io
import os
import random
import shutil
import zipfile
from pathlib import Path

import yaml

from tests.campaign.mutations import mutated, spoiled
from tests.campaign.spoiling import Command, Family, fetch_and_pack, load, refused, rewrite

PARAMS = Path("params.yaml")
TWICE = ["seeds: [3]", "tier: mini", "source: mine", "extra_arms: []"]  # each valid, were it there alone
# A YAML text of hundreds of levels, of aliases that stand for a thousand million values, of a value that cannot be.
HOSTILE = {
    "nesting": "a: " + "[" * 400 + "]" * 400,
    "aliases": "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 31)),
    "an alias of itself": "a: &a [*a]",
    "a long line": "a: " + "x" * 200_000,
    "a date": "a: 2024-13-41",
    "a number": "a: !!int abc",
    "digits": "a: " + "9" * 5000,
}


def params(rng: random.Random) -> Command:
    kind = rng.random()
    if kind < 0.1:
        name = rng.choice(sorted(HOSTILE))
        PARAMS.write_text(PARAMS.read_text() + HOSTILE[name] + "\n")
        return refused(load, name)
    if kind < 0.2:
        PARAMS.write_text(f"{PARAMS.read_text()}\n{rng.choice(TWICE)}\n")
        return refused(load, "a key twice")
    if kind < 0.4:
        return _tiers(rng)
    rewrite(PARAMS, rng)
    return load


def _tiers(rng: random.Random) -> Command:
    from seal.tiers import write_tier

    tier, choices = rng.choice(["smoke", "mini", "paper"]), rng.choice([None, "author_code"])
    rewrite(Path(f"params/{rng.choice([tier, 'paper', choices or tier])}.yaml"), rng)
    return lambda: write_tier(tier, choices, Path("params"), PARAMS)


def section(*names: str) -> Family:
    def family(rng: random.Random) -> Command:
        document = yaml.safe_load(PARAMS.read_text())
        name = rng.choice(names)
        document[name] = mutated(document[name], rng)
        PARAMS.write_text(yaml.safe_dump(document, sort_keys=False), errors="surrogateescape")
        return load

    return family


def folders(rng: random.Random) -> Command:
    image = rng.choice(sorted(Path("images").rglob("*.png")))
    kind = rng.choice(["bytes", "a link", "a folder", "a name", "hidden", "one class", "a pipe", "no image", "changed"])
    if kind == "bytes":
        rewrite(image, rng, text=False)
    elif kind == "a link":
        image.with_name("x.png").symlink_to(rng.choice(["nowhere", "x.png"]))
    elif kind == "a folder":
        image.with_name("x.png").mkdir()
    elif kind == "a name":
        image.rename(image.with_name(rng.choice(["é.png", "a b.png", "\u202e.png", "-rf.png", "x" * 240 + ".png"])))
    elif kind == "hidden":
        shutil.copytree(image.parent, Path("images") / rng.choice([".x", "@eaDir", "__MACOSX", ".Trash-1000"]))
    elif kind == "a pipe":
        os.mkfifo(image.with_name("x.png"))
    elif kind == "no image":
        image.write_bytes(spoiled(b"no image of any kind", rng))
    elif kind == "changed":
        return changed_folder(image)
    else:
        shutil.rmtree(image.parent)
    return refused(fetch_and_pack, kind) if kind in ("a link", "one class", "no image") else fetch_and_pack


def changed_folder(image: Path) -> Command:
    """An image more, of the same size as another: the folder's listing has to say that it has changed."""
    from seal.data.listing import FOLDERS, main

    main()
    before = FOLDERS.read_bytes()
    shutil.copyfile(image, image.with_name("more.png"))

    def call() -> None:
        main()
        assert FOLDERS.read_bytes() != before, "a changed folder went unnoticed"

    return call


def archives(rng: random.Random) -> Command:
    from seal.data.archives import open_archives

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in ("cat/0.png", rng.choice(["cat/1.png", "../x", "/etc/x", "C:\\x", "a\nb", "cat//../../y"])):
            archive.writestr(name, rng.randbytes(50))
    Path("a.zip").write_bytes(spoiled(content.getvalue(), rng) if rng.random() < 0.7 else content.getvalue())

    def read() -> None:
        with open_archives([Path("a.zip")]) as members:
            for member in members.values():
                member.read()

    return read


def names(rng: random.Random) -> Command:
    new = rng.choice([os.fsdecode(b"\xff\xfe"), "é", "a b", "\x1b[31m", "..x", "%", "${x}", "a\nb", "\u202eabc", "#x"])
    path = Path("images/cat")
    if rng.random() < 0.5:
        path = next(path.glob("*.png"))
    named = path.with_name(f"{new}{path.suffix}")
    path.rename(named)
    if rng.random() < 0.5:  # the name is then in the line, or the images are packed under it
        shutil.rmtree(named) if named.is_dir() else named.unlink()
        named.symlink_to("nowhere")
    return fetch_and_pack


def security(rng: random.Random) -> Command:
    harm = rng.choice(["!!python/object/apply:os.mkdir [owned]", "<script>", "../../x", "$(mkdir owned)", "{{7*7}}"])
    key = rng.choice(["source: mine", "tier: smoke", "path: images", "device: cpu"])
    PARAMS.write_text(PARAMS.read_text().replace(key, f"{key.partition(':')[0]}: {harm}"))

    def call() -> None:
        try:
            load()
            fetch_and_pack()
        finally:
            assert not Path("owned").exists(), "something was run from a file"

    return call
