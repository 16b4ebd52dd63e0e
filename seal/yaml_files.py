"""YAML that a person may have written, read with limits: of size, depth and aliases, and no key twice.

params.yaml, the tiers and their overlays, dvc.lock and the claims are read by it. Pure values come out; what they mean
is said by who asked.
"""

import re
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from seal.errors import ConfigError, short

LARGEST_BYTES = 32 * 2**20  # dvc.lock of the paper's tier has about one
DEEPEST = 50
MOST_VALUES = 2_000_000  # with every alias counted as what it stands for
LONGEST_LINE = 100_000

# Words and numbers as YAML 1.2 has them, by which DVC reads and writes: `off` is a word, 1e-05 a number, 010 ten.
BOOLEAN, INTEGER, FLOAT = (f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float"))
INTEGERS = r"^[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)$"
FLOATS = (
    r"^[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*([eE][-+]?[0-9]+)?"
    r"|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$"
)
SCALARS = (
    (BOOLEAN, "^(true|True|TRUE|false|False|FALSE)$", "tTfF"), (INTEGER, INTEGERS, "-+0123456789"),
    (FLOAT, FLOATS, "-+.0123456789"),
)  # fmt: skip


def _loader() -> Any:
    """PyYAML's, with these scalars in the place of YAML 1.1's. libyaml's parser takes a tenth of the time."""
    theirs: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    replaced = [tag for tag, _, _ in SCALARS]
    resolvers = {}
    for first, known in theirs.yaml_implicit_resolvers.items():
        resolvers[first] = [(tag, pattern) for tag, pattern in known if tag not in replaced]

    ours: Any = type("Loader", (theirs,), {"yaml_implicit_resolvers": resolvers})
    for tag, pattern, first in SCALARS:
        ours.add_implicit_resolver(tag, re.compile(pattern), list(first))
    ours.add_constructor(INTEGER, _integer)
    return ours


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    return int(text, 10 if text.lstrip("-+").isdigit() else 0)


def _dumper() -> Any:
    """PyYAML's, which quotes by YAML 1.1, and here by 1.2 too."""
    ours: Any = type("Dumper", (yaml.SafeDumper,), {})
    for tag, pattern, first in SCALARS:
        ours.add_implicit_resolver(tag, re.compile(pattern), list(first))
    return ours


Loader: Any = _loader()
Dumper: Any = _dumper()


def in_one_line(entry: dict[str, Any]) -> str:
    """`KEY: VALUE` for each, parted by commas. A text is quoted where YAML 1.1 or 1.2 would read something else."""
    text: str = yaml.dump(entry, Dumper=Dumper, default_flow_style=True, sort_keys=False, width=10**6)
    return text.strip().removeprefix("{").removesuffix("}")


def read_yaml(path: Path, remedy: str) -> Any:
    """What a file holds. Raises ConfigError, which ends in `remedy`, where it cannot be read or is not clean YAML;
    FileNotFoundError where it is not there."""
    return parse_yaml(read_text(path, remedy), str(path), remedy)


def read_text(path: Path, remedy: str) -> str:
    """A file's text. Raises ConfigError where it is no file of UTF-8, or too large."""
    if path.is_dir():
        raise ConfigError(f"{path}: found a folder, expected YAML in UTF-8; {remedy}")
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise ConfigError(f"{path}: found {size} bytes, expected at most {LARGEST_BYTES}; {remedy}")

    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: found bytes that are not UTF-8 ({error.reason}), expected YAML in UTF-8; {remedy}"
        ) from None


def parse_yaml(text: str, origin: str, remedy: str) -> Any:
    """What a text holds. Raises ConfigError with the line of what cannot be taken."""
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > LONGEST_LINE:
            lengths = f"found a line of {len(line)} characters, expected at most {LONGEST_LINE}"
            raise ConfigError(f"{origin}: line {number}: {lengths}; {remedy}")

    try:
        _not_too_deep(text, origin, remedy)
        loader = Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _values(root, origin, remedy, {})
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin}: not YAML: {short(' '.join(str(error).split()))}; {remedy}") from None
    except (ValueError, OverflowError, AttributeError, TypeError, KeyError) as error:  # of a date or a number
        raise ConfigError(f"{origin}: a value that cannot be: {short(str(error))}; {remedy}") from None


def _not_too_deep(text: str, origin: str, remedy: str) -> None:
    """By the parser's events, which nest without recursion."""
    depth = 0
    for event in yaml.parse(text, Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ConfigError(f"{origin}: line {line}: nested deeper than {DEEPEST}; {remedy}")


def _values(node: yaml.Node, origin: str, remedy: str, known: dict[int, int | None]) -> int:
    """How many values a node stands for. Raises ConfigError for a key that is there twice, and where there are too
    many; `known`: of the nodes that were met, None while they are looked at."""
    line = node.start_mark.line + 1
    if id(node) in known:
        values = known[id(node)]
        if values is None:
            raise ConfigError(f"{origin}: line {line}: an alias that holds itself; {remedy}")
        return values

    known[id(node)], values = None, 1
    if isinstance(node, yaml.MappingNode):
        _no_key_twice(node, origin, remedy)
    for child in _children(node):
        values += _values(child, origin, remedy, known)
    if values > MOST_VALUES:
        raise ConfigError(f"{origin}: line {line}: aliases stand for more than {MOST_VALUES} values; {remedy}")
    known[id(node)] = values
    return values


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [*chain.from_iterable(node.value)]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _no_key_twice(node: yaml.MappingNode, origin: str, remedy: str) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line, name = key.start_mark.line + 1, (key.tag, key.value)
        if name in lines:
            again = f"{short(key.value)} is there twice, first in line {lines[name]}"
            raise ConfigError(f"{origin}: line {line}: {again}; {remedy}")
        lines[name] = line
