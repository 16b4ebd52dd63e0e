"""The tiers: params/paper.yaml is whole, every other file of that folder an overlay of what it changes.

`seal tier` writes params.yaml from them, `seal plan --tier` and the report read a tier by them. One rule: dicts merge,
anything else replaces, and `datasets` replaces as a whole, because each of its entries is fetched.
"""

from io import StringIO
from pathlib import Path
from typing import Any, get_args

from seal.config import Params, parse_params
from seal.errors import ConfigError
from seal.record import Tier, atomic
from seal.yaml_files import parse_yaml, read_text

PARAMS = Path("params")
WHOLE = "paper"
TIERS = get_args(Tier)
REPLACED = ("datasets",)
RESTORED = "`git restore params` brings it back"


def tier_params(tier: str, choices: str | None = None, folder: Path = PARAMS) -> Params:
    """The parameters of a tier, with the choices of an overlay laid over them.

    Raises ConfigError for a file that is not there, and with one line for each problem of the whole.
    """
    names = filter(None, (tier, choices))
    laid = " with ".join(str(folder / f"{name}.yaml") for name in names)
    return parse_params(parse_yaml(tier_text(tier, choices, folder), laid, "correct it"), laid)


def tier_text(tier: str, choices: str | None = None, folder: Path = PARAMS) -> str:
    """The same as one whole YAML file, unchecked.

    Comments are the paper's where its value stands, and the overlay's where that one's does. Merge keys stay, so that
    an overlay's value of `arms.seal` reaches every arm that takes SEAL's values over.
    """
    yaml = _yaml()
    params = yaml.load(_read(folder, WHOLE))
    for name in (tier, choices):
        if name and name != WHOLE:
            overlay = yaml.load(_read(folder, name))
            if name == tier:  # what stands above a tier's first key is about the tier
                params.ca.comment = overlay.ca.comment
            lay_over(params, overlay)

    text = StringIO()
    yaml.dump(params, text)
    return text.getvalue()


def write_tier(tier: str, choices: str | None, folder: Path, target: Path) -> None:
    """Write a tier's parameters to `target`, once the whole is valid; raises ConfigError before that."""
    known = sorted(path.stem for path in folder.glob("*.yaml") if path.stem not in TIERS)
    if choices is not None and choices not in known:
        raise ConfigError(f"found the choices {choices}, expected one of {', '.join(known)}")
    tier_params(tier, choices, folder)
    with atomic(target) as temporary:
        temporary.write_text(tier_text(tier, choices, folder), encoding="utf-8", newline="")


def lay_over(params: Any, overlay: Any) -> None:
    """Lay one of ruamel.yaml's mappings over another, in place."""
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(params.get(key), dict) and key not in REPLACED:
            lay_over(params[key], value)
            comment, following = _line_end(params, key)
            _end_line(params, key, _line_end(overlay, key)[0] or comment, following)
        else:
            following = _line_end(params, key)[1]
            params[key] = value
            _end_line(params, key, _line_end(overlay, key)[0], following)
            _comments(params, key)[3] = _comments(overlay, key)[3]  # above the first of its own keys


def _comments(mapping: Any, key: str) -> Any:
    """ruamel.yaml's four places for what stands about a key: 1 before it, 2 from its line's end on, 3 below it."""
    return mapping.ca.items.setdefault(key, [None, None, None, None])


def _line_end(mapping: Any, key: str) -> tuple[str, str]:
    """The comment on a key's line; and the lines that follow, which are about what comes next."""
    token = _comments(mapping, key)[2]
    comment, _, following = token.value.partition("\n") if token else ("", "", "")
    return comment, following


def _end_line(mapping: Any, key: str, comment: str, following: str) -> None:
    from ruamel.yaml.error import CommentMark
    from ruamel.yaml.tokens import CommentToken

    # At column 0 a comment follows its value after one space, however long that is.
    token = CommentToken(f"{comment}\n{following}", CommentMark(0), None) if comment or following else None
    _comments(mapping, key)[2] = token
    if hasattr(mapping[key], "ca") and mapping[key].ca.comment:  # a list or mapping has it twice
        mapping[key].ca.comment[0] = token


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # lines are as they were written
    # Left to itself, ruamel.yaml writes null as nothing, and the copy of a tier would differ from it.
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _read(folder: Path, name: str) -> str:
    path = folder / f"{name}.yaml"
    if not path.exists():
        raise ConfigError(f"{path}: not found; run from the project's root")

    text = read_text(path, RESTORED)
    if not isinstance(parse_yaml(text, str(path), RESTORED), dict):
        raise ConfigError(f"{path}: found no sections, expected those of params.yaml; {RESTORED}")
    return text
