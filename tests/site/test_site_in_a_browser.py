"""A site in Chromium: sorted and filtered by click and by keyboard, wide and narrow, without a request to elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.site import Built
from tests.browser import Browser

WIDE, NARROW = (1280, 900), (375, 700)
PAGES = ("index.html", "methods/dml.html", "methods/dkel.html", "runs/*pcl*.html")

SHOWN = """
const seen = (nodes) => [...nodes].filter((node) => !node.hidden);
return seen(document.querySelectorAll('.board')).map((board) =>
  [board.dataset.data, seen(board.querySelector('tbody').rows).map((row) => row.dataset.method)])
"""

CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const bytes = (css) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
const behind = (node) => {
  for (let up = node; up; up = up.parentElement) {
    const found = bytes(getComputedStyle(up).backgroundColor);
    if (found[3] === 255) return found;
  }
  return [255, 255, 255, 255];
};
const low = [];
for (const node of document.querySelectorAll('body *')) {
  const text = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  if (!text || !node.getClientRects().length || ['SCRIPT', 'OPTION'].includes(node.tagName)) continue;
  const style = getComputedStyle(node), colour = node.closest('svg') ? style.fill : style.color;
  const [a, b] = [light(bytes(colour)), light(behind(node))].sort((x, y) => y - x);
  if ((a + .05) / (b + .05) < 4.5) low.push(`${node.tagName} ${colour}: ${node.textContent.slice(0, 30)}`);
}
return low;
"""


@pytest.fixture
def index(site: tuple[Path, Built], chromium: Browser) -> Iterator[Browser]:
    chromium.resize(*WIDE)
    chromium.open("about:blank")
    chromium.requests()
    chromium.open((site[0] / "index.html").as_uri())
    yield chromium
    assert chromium.complaints() == []
    assert_all_inside(site[0], chromium.requests())


def assert_all_inside(site: Path, requests: list[str]) -> None:
    assert any(request.endswith(".css") for request in requests)
    assert [one for one in requests if not one.startswith((f"{site.as_uri()}/", "data:", "about:"))] == []


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_can_be_read_and_asks_for_nothing(
    name: str, size: tuple[int, int], site: tuple[Path, Built], chromium: Browser
) -> None:
    page = next(site[0].glob(name))
    chromium.resize(*size)
    chromium.requests()
    chromium.complaints()
    for dark in (False, True):
        chromium.dark(dark)
        chromium.open(page.as_uri())
        assert chromium.run("return document.documentElement.scrollWidth") <= size[0]
        assert chromium.run(CONTRAST) == []
    chromium.dark(False)
    assert chromium.complaints() == []
    assert_all_inside(site[0], chromium.requests())


def test_a_click_on_a_heading_sorts_every_leaderboard_and_the_address_keeps_it(
    index: Browser, site: tuple[Path, Built]
) -> None:
    heading = ".board[data-data=digits] thead th:nth-child(2) button"
    index.click(heading)
    assert ["digits", ["independent", "dml", "pcl"]] in index.run(SHOWN)
    index.click(heading)
    assert ["digits", ["pcl", "dml", "independent"]] in index.run(SHOWN)
    assert ["cifar10", ["independent", "dml"]] in index.run(SHOWN)
    address = index.run("return location.href")
    assert address.endswith("#sort=accuracy%2C+%25&order=ascending")
    index.open("about:blank")
    index.open(address)
    assert ["digits", ["pcl", "dml", "independent"]] in index.run(SHOWN)


def test_filters_choose_leaderboards_and_rows(index: Browser) -> None:
    choose = "const box = document.querySelector('[name={}]'); box.value = '{}';"
    fire = "box.dispatchEvent(new Event('input', {bubbles: true}))"
    index.run(choose.format("data", "cifar10") + fire)
    assert index.run(SHOWN) == [["cifar10", ["independent", "dml"]]]
    index.run(choose.format("find", "ind") + fire)
    assert index.run(SHOWN) == [["cifar10", ["independent"]]]
    view = index.run("return document.getElementById('permalink').href")
    index.click("#filters button[type=reset]")
    index.wait("return document.getElementById('found').textContent", "7 rows in 3 of 3 leaderboards")
    index.open("about:blank")
    index.open(view)
    assert index.run(SHOWN) == [["cifar10", ["independent"]]]
    assert index.run("return document.querySelector('[name=data]').value") == "cifar10"
    index.click("#filters button[type=reset]")
    index.run(choose.format("checked", "identical") + fire)
    assert {method for _, methods in index.run(SHOWN) for method in methods} == {"consensus", "independent"}
    index.run(choose.format("checked", "differs") + fire)
    assert index.run(SHOWN) == []
    assert "Show all" in index.run("return document.getElementById('found').textContent")


def test_a_leaderboard_has_an_address_of_its_own(index: Browser) -> None:
    index.click(".board[data-data=cifar10] p a")
    index.wait("return document.querySelectorAll('.board:not([hidden])').length", 1)
    assert index.run(SHOWN) == [["cifar10", ["independent", "dml"]]]


def test_the_keyboard_reaches_everything(index: Browser) -> None:
    expected = index.run(
        "return [...document.querySelectorAll('a[href], button, select, input, summary')]"
        ".filter((node) => node.checkVisibility()).length"
    )
    active = "const node = document.activeElement; return [node.tagName, node.textContent.trim().slice(0, 20)]"
    index.press("Tab")
    assert index.run(active) == ["A", "To the content"]
    in_a_heading = "return document.activeElement.closest('.board[data-data=digits] thead') !== null"
    reached = 1
    sorted_by_key = False
    for _ in range(expected + 20):
        if not sorted_by_key and index.run(in_a_heading):
            index.press("Enter")
            index.press("Enter")
            sorted_by_key = True
            assert index.run("return document.querySelectorAll('.board[data-data=digits] th[aria-sort]').length") >= 1
        index.press("Tab")
        if index.run("return document.activeElement === document.body"):
            break
        reached += index.run("return document.activeElement.matches('a[href], button, select, input, summary')")
    assert sorted_by_key
    assert reached == expected


def test_a_method_page_draws_curves_and_leads_to_the_bundle(site: tuple[Path, Built], chromium: Browser) -> None:
    chromium.resize(*WIDE)
    chromium.open((site[0] / "methods/dml.html").as_uri())
    drawn = "return [...document.querySelectorAll('#chart path.line')].map((line) => line.dataset.row)"
    assert set(chromium.run(drawn)) == {"independent", "dml"}
    chromium.run("document.querySelector('tr[data-run^=dml-digits] button').click()")
    links = chromium.run("return [...document.querySelectorAll('#details-body a')].map((link) => link.href)")
    assert [link.rpartition(".")[2] for link in links] == ["html", "gz"]
    assert all((site[0] / link.removeprefix(f"{site[0].as_uri()}/")).is_file() for link in links)
    assert chromium.run("return document.getElementById('command').textContent").startswith("bench run --methods dml")
    assert chromium.complaints() == []
