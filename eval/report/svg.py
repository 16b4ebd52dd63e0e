"""A figure's SVG text within a page, which has others beside it, and an ink of its own."""

import re

INK = "#000000"  # of text and axes in a file; in a page the page's


def inline(svg: str, name: str) -> str:
    """The same for a page that holds several: ids begin with the figure's name, and black is the page's ink."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s+", " ", svg).replace("> <", "><")
    svg = re.sub(r'\bid="', f'id="{name}.', svg)
    svg = re.sub(r'href="#|url\(#', lambda start: f"{start[0]}{name}.", svg)

    svg = svg.replace("#0072b2", "var(--blue)")  # too dark on a dark ground
    ground = re.compile(r'(<g id="[^"]*patch_\d+">\s*<path [^>]*style="fill: )#ffffff')
    return ground.sub(r"\1none", svg).replace(INK, "currentColor")
