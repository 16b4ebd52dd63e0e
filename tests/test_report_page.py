"""The page in a browser: its first screen, on a telephone, on paper, and what axe-core says of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.pages import CHROMIUM, FLAGS

SCREENS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
READ = [SCREENS[0], SCREENS[3]]  # by axe-core, which takes 15 s a page: each width and each scheme once
OPEN = "document.querySelectorAll('details').forEach(fold => fold.open = true)"
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNNAMED = "all => all.filter(one => !one.closest('[role=img][aria-label]')?.ariaLabel.trim()).length"
LOST = """all => all.map(link => link.getAttribute('href').slice(1)).filter(id => !document.getElementById(id))"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on the PATH"),
    pytest.mark.xdist_group("report page"),
]


@pytest.fixture
def address(written: Path) -> str:
    return (written / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(params=SCREENS, ids=str)
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    width, scheme = request.param
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    yield opened
    opened.close()


def test_a_screen_shows_it_whole_and_asks_nobody(page: Page, address: str) -> None:
    messages: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)

    for opened in (False, True):
        assert page.evaluate(SIDEWAYS) <= 0, "tables and figures scroll by themselves"
        if not opened:
            page.evaluate(OPEN)
    assert page.locator("svg").count() > 10
    assert page.eval_on_selector_all("svg", UNNAMED) == 0, "every figure has words in its place"
    assert page.eval_on_selector_all("a[href^='#']", LOST) == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert not messages


@pytest.mark.parametrize("page", READ, indirect=True, ids=str)
def test_axe_core_finds_no_violation(page: Page, address: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.goto(address)
    page.evaluate(OPEN)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_the_first_screen_holds_the_primary_sentences_and_the_key_figure(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address)
    for place in (page.locator(".told li").last, page.locator("figure svg").first):
        box = place.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 900
    page.close()


def test_a_link_to_a_folded_claim_opens_its_folds(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{address}#mini-fewshot_cell.fewshot.chestx_ray8.5")
    row = page.locator("[id='mini-fewshot_cell.fewshot.chestx_ray8.5']")
    row.wait_for(state="visible", timeout=10_000)
    assert "NOT-RUN" in str(row.text_content())
    page.close()


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_it_prints_with_every_fold_open(browser: Browser, address: str, paper: str) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(address)
    page.emulate_media(media="print")
    claim = page.locator("[id='mini-llf_over_normal']")
    assert claim.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(format=paper).count(b"/Type /Page\n") > 10
    page.close()
