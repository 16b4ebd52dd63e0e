"""Where a claim stands in a report: the same place in every page, which `seal claims --show` names too."""


def anchor(tier: str, claim: str) -> str:
    """Of a claim's identity, or of an area's name."""
    return f"{tier}-{claim}"
