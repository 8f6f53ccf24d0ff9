"""The page, opened and clicked in a real browser: what is folded opens, filters filter, and nothing goes out.

Without a browser these are skipped, except where everything has to run, as $CI says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from conformance.report import Report, write_report
from mcp_tasks.testing import check_leaks

from ._browser import Browser, Page, find_browser, open_browser
from ._reported import NASTY, broken_report, finding, make_play, report_of

FAILED = '#T25-064 td[data-column="0"] button'


def reports() -> list[Report]:
    """A server that is broken and says nasty things, one that is not, over two transports, and one of the newer era."""
    return [
        broken_report(NASTY, subject="broken"),
        report_of(
            make_play(finding("T25-064", True, "it stays", 9), finding("T25-073", True)),
            make_play(finding("T25-064", True), transport="http"),
            subject="sound",
        ),
        report_of(make_play(finding("X26-028", True), scenario="second"), subject="modern"),
    ]


@pytest.fixture(autouse=True)
def no_child_is_left() -> None:
    """In place of the fixture for all tests: here one browser serves all of them, and is gone after the last."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        why = "there is no Chromium: install Debian's `chromium`, or say where one is in MCP_TASKS_BROWSER"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    with open_browser(program, tmp_path_factory.mktemp("browser")) as browser:
        yield browser
    check_leaks()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "matrix.html"
    write_report(path, *reports())
    return path.as_uri()


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    page = browser.page()
    page.open(url)
    yield page
    assert browser.complaints == []
    assert {one.partition("#")[0] for one in browser.requests if not one.startswith("data:")} == {url}


def shown_ids(page: Page) -> list[str]:
    found = page.run("[...document.querySelectorAll('tr.row')].filter(row => row.checkVisibility()).map(row => row.id)")
    assert isinstance(found, list)
    return found


def test_a_matrix_of_requirements_and_programs(page: Page) -> None:
    assert page.texts("thead .peer span") == ["broken", "sound", "sound", "modern"]
    assert page.texts("#T25-064 td") == ["✗ fail", "✓ pass", "✓ pass", "·"]
    assert page.texts("#X26-028 td")[:3] == ["·", "·", "·"]
    everything = len(shown_ids(page))
    assert everything > 100
    assert page.text("#shown") == f"{everything} of {everything} requirements"


def test_a_failure_opens_to_the_exchange_that_shows_it(page: Page) -> None:
    assert page.run(f"document.querySelector({FAILED!r}).getAttribute('aria-expanded')") == "false"
    page.click(FAILED)
    assert page.run(f"document.querySelector({FAILED!r}).getAttribute('aria-expanded')") == "true"
    (opened,) = page.texts("tr.detail")
    assert "the answer is not </script><img src=x onerror=alert(1)>" in opened
    offending = page.text(".offending")
    assert offending.startswith("here: 0.000 ← server")
    assert '"type": "text"' in offending, "it is there with all that was said"
    # The others are folded, and open by themselves.
    assert len(page.texts(".frames pre")) == 1
    page.click(".frames > li:nth-child(3) summary")
    assert '"name": "quick"' in page.texts(".frames pre")[0]
    page.click(FAILED)
    assert page.texts("tr.detail") == []


def test_one_cell_of_a_row_is_open_at_a_time(page: Page) -> None:
    page.click(FAILED)
    page.click('#T25-064 td[data-column="1"] button')
    (opened,) = page.texts("tr.detail")
    assert opened.startswith("T25-064, sound server, stdio: pass")
    assert page.texts(".frames") == [], "what is well stays folded"
    page.click("tr.detail summary")
    assert len(page.texts(".frames > li")) == 12


def test_it_can_be_used_with_the_keyboard(page: Page) -> None:
    page.run(f"document.querySelector({FAILED!r}).focus()")
    page.press("Enter", 13)
    page.until("document.querySelector('tr.detail') !== null")


def test_filters(page: Page) -> None:
    everything = shown_ids(page)
    page.click('input[value="fail"]')
    assert shown_ids(page) == ["T25-064"]
    page.click('input[value="warn"]')
    assert shown_ids(page) == ["T25-064", "T25-073"]
    assert page.text("#shown") == f"2 of {len(everything)} requirements"
    page.click(FAILED)
    page.click('input[value="fail"]')
    assert shown_ids(page) == ["T25-073"]
    assert page.texts("tr.detail") == [], "what is no longer there leaves nothing behind"
    page.click('button[type="reset"]')
    page.until(f"document.getElementById('shown').textContent.startsWith('{len(everything)} of')")


def choose(page: Page, id: str, value: str) -> None:
    page.run(
        f"(() => {{ const one = document.getElementById({id!r}); one.value = {value!r};"
        "one.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def test_filters_by_era_and_level(page: Page) -> None:
    choose(page, "era", "2026-07-28")
    assert {id[:3] for id in shown_ids(page)} == {"X26", "C26"}
    choose(page, "era", "")
    choose(page, "level", "MAY")
    assert "T25-001" in shown_ids(page)
    assert set(page.texts(".level")) == {"MAY"}


def test_search(page: Page) -> None:
    page.click("#text")
    page.type("never changes")
    assert "T25-064" in shown_ids(page)
    page.type(" nothing of the kind")
    assert shown_ids(page) == []
    assert page.text("#nothing") == "Nothing is like that."


def test_a_link_opens_a_requirement(browser: Browser, page: Page, url: str) -> None:
    page.open(f"{url}#T25-064")
    page.until("document.querySelector('tr.detail') !== null")
    assert page.texts("tr.detail")[0].startswith("T25-064, broken")


def test_it_has_a_dark_side(page: Page) -> None:
    def paper() -> list[int]:
        colour = page.run("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in colour.strip("rgb()").split(",")]

    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    assert min(paper()) > 200
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert max(paper()) < 60


CONTRAST = """
(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const one of document.querySelectorAll("body *")) {
    const bare = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!bare || !one.checkVisibility() || one.closest(".known")) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${one.tagName}.${one.className} ${ratio.toFixed(2)}`);
  }
  return [...new Set(low)];
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(page: Page, scheme: str) -> None:
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.click(FAILED)
    assert page.run(CONTRAST) == []


def test_everything_that_can_be_used_has_a_name(page: Page) -> None:
    page.click(FAILED)
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    used = [
        node for node in nodes if node.get("role", {}).get("value") in ("button", "checkbox", "combobox", "searchbox")
    ]
    assert len(used) > 100
    assert [node for node in used if not node.get("name", {}).get("value")] == []


def test_it_fits_a_telephone(browser: Browser, url: str) -> None:
    page = browser.page(width=400, height=800)
    page.open(url)
    assert page.run("document.documentElement.scrollWidth") <= 400
