"""The page of a report in a real browser: what a reader does with it, and that it asks nothing of any network."""

import shutil

import pytest

from jgr.jobs.report.document import document
from jgr.jobs.report.page import page
from tests.jobs.report import made
from tests.jobs.report.hostile import HOSTILE, hostile

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[test]'")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def show(browser, tmp_path):
    """Opens a report; at the end there must have been no error and no request but for the file itself."""
    wrong, contexts = [], []

    def open_(report, **options):
        file = tmp_path / "report.html"
        file.write_text(page(document(report)), encoding="utf-8")
        context = browser.new_context(**options)
        context.set_default_timeout(60_000)
        contexts.append(context)
        opened = context.new_page()
        opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("dialog", lambda dialog: wrong.append(dialog.message))
        asked = (file.as_uri(), "data:")
        opened.on("request", lambda request: None if request.url.startswith(asked) else wrong.append(request.url))
        opened.goto(file.as_uri())
        return opened

    yield open_
    for context in contexts:
        context.close()
    assert not wrong


def names(opened):
    return opened.locator("table.results tbody tr").evaluate_all("rows => rows.map((row) => row.dataset.arm)")


def header(opened, name):
    return opened.locator(f"th:has(button[data-column^='{name}'])")


def pixel(opened, image, x, y=0.5):
    """The gray of a canvas at a share of its width and height."""
    canvas = opened.locator(f"{image} canvas")
    canvas.scroll_into_view_if_needed()
    opened.wait_for_function("canvas => canvas.layers().length > 0", arg=canvas.element_handle())
    opened.wait_for_timeout(50)
    code = """(canvas, [x, y]) => {
      const context = canvas.getContext('2d');
      return context.getImageData(x * canvas.width, y * canvas.height, 1, 1).data[0];
    }"""
    return canvas.evaluate(code, [x, y])


def test_a_header_sorts_by_mouse_and_by_keyboard(show):
    opened = show(made.small())
    assert names(opened) == ["beta", "alpha", "gamma"]
    header(opened, "psnr").get_by_role("button").click()
    assert names(opened) == ["alpha", "beta", "gamma"]  # the better first, what has none last
    assert header(opened, "psnr").get_attribute("aria-sort") == "descending"
    header(opened, "psnr").get_by_role("button").click()
    assert names(opened) == ["beta", "alpha", "gamma"]
    header(opened, "mae").get_by_role("button").focus()
    opened.keyboard.press("Enter")
    assert names(opened) == ["beta", "alpha", "gamma"]
    opened.keyboard.press("Space")  # the focus stayed on the header
    assert names(opened) == ["gamma", "alpha", "beta"]
    assert header(opened, "mae").get_attribute("aria-sort") == "descending"
    assert header(opened, "psnr").get_attribute("aria-sort") == "none"
    header(opened, "name").get_by_role("button").click()
    assert names(opened) == ["alpha", "beta", "gamma"]


def test_the_filter_looks_at_names_and_config_values(show):
    opened = show(made.small())
    opened.locator("#filter").fill("width=32")
    assert names(opened) == ["alpha", "gamma"]
    opened.locator("#filter").fill("WIDTH=32 gam")
    assert names(opened) == ["gamma"]
    opened.locator("#filter").fill("nothing")
    assert "No row matches" in opened.locator("table.results").inner_text()
    opened.locator("#filter").fill("")
    assert names(opened) == ["beta", "alpha", "gamma"]


def test_columns_are_chosen_and_published_numbers_stand_apart(show):
    opened = show(made.small())
    assert header(opened, "config width").count() == 1
    opened.locator("#columns summary").click()
    opened.locator("#columns").get_by_label("width").uncheck()
    assert header(opened, "config width").count() == 0
    opened.keyboard.press("Escape")
    text = opened.locator("#results").inner_text()
    assert "Published, not ranked with the above" in text
    assert "Nobody's" not in opened.locator("table.results").inner_text()
    assert "[9.000, 10.00]" in text


def test_each_table_shows_its_first_metrics(show):
    opened = show(made.apart(10))
    shown = opened.locator("table.results").evaluate_all(
        "tables => tables.map((table) => table.querySelectorAll('thead th.number').length)"
    )
    assert shown == [8, 8]


def test_curves_tell_mean_band_and_every_seed(show):
    opened = show(made.small())
    opened.locator("#tab-curves").click()
    curves = opened.locator("#curves")
    curves.get_by_label("Metric").select_option("loss")

    def read():
        return [line.split("\t") for line in curves.locator("table.readout tbody").inner_text().splitlines()]

    # Seeds of slopes 1 and 3: at the fifth step 6 and 16.
    assert [cell.strip() for cell in read()[1]] == ["alpha", "50", "11", "6 to 16", "2"]
    opened.locator(".plot").focus()
    opened.keyboard.press("ArrowLeft")
    assert read()[1][1:4] == ["40", "9", "5 to 13"]
    curves.get_by_label("Band").select_option("std")
    assert read()[1][3] == "3.343 to 14.66"  # 9 ± 8 / sqrt(2)
    curves.get_by_label("every seed").check()
    assert read()[1][-1] == "5, 13"
    assert curves.locator("path.seed").count() == 2
    curves.get_by_label("Along").select_option("images")
    assert read()[0][1] == "400"
    curves.get_by_label("logarithmic").check()
    assert "NaN" not in curves.inner_html()
    opened.locator("#shown summary").click()
    opened.locator("#shown").get_by_label("alpha").uncheck()
    assert [line[0].strip() for line in read()] == ["beta", "gamma"]


def test_the_slider_shows_one_image_left_and_the_other_right(show):
    opened = show(made.small())
    opened.locator("#tab-pictures").click()
    assert (pixel(opened, ".stage", 0.2), pixel(opened, ".stage", 0.8)) == (60, 100)
    slider = opened.get_by_label("Where the left picture ends")
    slider.focus()
    opened.keyboard.press("End")
    assert (pixel(opened, ".stage", 0.2), pixel(opened, ".stage", 0.8)) == (60, 60)
    opened.keyboard.press("Home")
    assert pixel(opened, ".stage", 0.2) == 100
    opened.locator(".compare select").nth(0).select_option("gamma")
    opened.locator(".compare select").nth(1).select_option("truth")
    box = opened.locator(".stage canvas").bounding_box()
    opened.mouse.move(box["x"] + 5, box["y"] + 20)
    opened.mouse.down()
    opened.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 20)
    opened.mouse.up()
    assert int(slider.input_value()) == pytest.approx(70, abs=1)
    assert (pixel(opened, ".stage", 0.6), pixel(opened, ".stage", 0.8)) == (110, 120)


def test_error_maps_are_of_the_pixels(show):
    opened = show(made.small())
    opened.locator("#tab-pictures").click()
    opened.get_by_label("error maps").check()
    tile = opened.locator("figure[data-image='beta-s0']")
    opened.wait_for_function("tile => tile.innerText.includes('dB')", arg=tile.element_handle())
    assert "|error| 20.00 of 255, 22.11 dB" in tile.inner_text()  # 20 log10(255 / 20)
    assert "error" not in opened.locator("figure[data-image='truth']").inner_text()
    low = pixel(opened, "figure[data-image='gamma-s0']", 0.5)
    assert 0 < low < pixel(opened, "figure[data-image='beta-s0']", 0.5)


def test_pictures_of_one_part_are_zoomed_and_moved_together(show):
    opened = show(made.small())
    opened.locator("#tab-pictures").click()
    grids = opened.locator(".tiles.wide figure")
    assert grids.count() == 2
    second = ".tiles.wide figure:nth-child(2)"
    assert [pixel(opened, second, x) for x in (0.1, 0.4, 0.6)] == [0, 0, 255]
    grids.nth(0).locator("canvas").focus()
    for key in ("+", "+", "ArrowRight", "ArrowRight"):
        opened.keyboard.press(key)
    assert [pixel(opened, second, x) for x in (0.1, 0.4, 0.6)] == [0, 255, 255]
    opened.keyboard.press("0")
    assert [pixel(opened, second, x) for x in (0.1, 0.4, 0.6)] == [0, 0, 255]


def test_tabs_are_walked_by_keyboard_and_show_configs_and_commands(show):
    opened = show(made.small())
    opened.locator("#tab-results").focus()
    for _ in range(3):
        opened.keyboard.press("ArrowRight")
    assert opened.evaluate("document.activeElement.id") == "tab-config"
    lines = opened.locator("#config tbody tr").all_inner_texts()
    assert [line.split() for line in lines] == [["extra", "–", "–", "None"], ["width", "64", "32", "32"]]
    opened.locator("#config").get_by_label("that all share").check()
    assert "depth" in opened.locator("#config").inner_text()
    opened.keyboard.press("End")
    opened.locator("#tab-environment").click()
    assert "c-alpha-s1" in opened.locator("#environment").inner_text()
    opened.locator("#tab-reproduce").click()
    assert "do alpha-s1" in opened.locator("#reproduce").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark_and_at_a_narrow_width(show, scheme):
    opened = show(made.small(), color_scheme=scheme, viewport={"width": 380, "height": 700})
    ground, text = opened.evaluate(
        """() => { const style = getComputedStyle(document.body);
        return [style.backgroundColor, style.color].map((one) => Math.max(...one.match(/\\d+/g).map(Number))); }"""
    )
    assert ground < 60 < 200 < text if scheme == "dark" else text < 60 < 200 < ground
    for tab in ("results", "curves", "pictures", "config", "environment", "reproduce"):
        opened.locator(f"#tab-{tab}").click()
        assert opened.evaluate("document.documentElement.scrollWidth") <= 380, tab


def test_no_text_of_a_run_is_run(show):
    for text in (HOSTILE[0], " ".join(HOSTILE)):
        opened = show(hostile(text))
        for tab in ("results", "curves", "pictures", "config", "environment", "reproduce"):
            opened.locator(f"#tab-{tab}").click()
        assert opened.evaluate("window.hacked") is None
        assert opened.evaluate("document.querySelectorAll('script').length") == 2
        assert opened.evaluate("document.querySelectorAll('img, iframe, object, embed').length") == 0
        opened.close()


def test_two_hundred_runs_are_there_at_once(show):
    opened = show(made.many(200))
    assert len(names(opened)) == 200
    session = opened.context.new_cdp_session(opened)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # of the processor, whatever else it does
    opened.reload()
    assert len(names(opened)) == 200
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    assert metrics["TaskDuration"] < 2.0
