"""By which numbers a run was trained, beside its seed: whether its record and what it is held against say the same.

`seal study` and `seal bundle` hold a record against the parameters, `seal compare` against another record, the MLflow
view an arm's runs against one another.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from seal.config import Params

Images = Literal["data", "data_sha256"]  # by which of its keys a record tells them


class Difference(NamedTuple):
    """A key of which the record has another value than what it is held against; `model` for another kind of network."""

    key: str
    recorded: Any
    wanted: Any


def facts_of(params: Params, arm: str, seed: int) -> dict[str, Any]:
    """By which numbers these parameters would train a run, as its summary.json would say."""
    return params.run(arm, seed).facts() | {"data": params.source}


def difference(recorded: Mapping[str, Any], wanted: Mapping[str, Any], images: Images = "data") -> Difference | None:
    """The first number by which the two are not one training; None where there is none.

    Section by section, of the keys that both have, as a record may be older than a key. `images` says by which of them
    images are told: parameters know a dataset's name alone.
    """
    ours, theirs = recorded.get("model", {}), wanted.get("model", {})
    if ("network" in ours) != ("network" in theirs):  # torchvision's and our ResNets have no key in common
        return Difference("model", ours, theirs)

    for known, asked in zip(_sections(recorded, images), _sections(wanted, images), strict=True):
        for key in asked:
            if key in known and known[key] != asked[key]:
                return Difference(key, known[key], asked[key])
    return None


def _sections(facts: Mapping[str, Any], images: str) -> list[Mapping[str, Any]]:
    """A method's own numbers stood in `generations` before they had a section of their own."""
    names = {key: facts[key] for key in ("tier", images, "method") if key in facts}
    settings = {**facts.get("generations", {}), **facts.get("options", {})}
    return [names, facts.get("model", {}), facts.get("training", {}), settings]
