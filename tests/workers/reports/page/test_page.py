"""The report in a real browser: it opens, filters, and shows the right photograph."""

import json

import pytest

from tests.builders.browsers import EVIL, colour_shown, needs_browser, run_script, texts
from tests.builders.datasets import make_shapes
from tests.builders.programs import wait_until
from tests.builders.reports import make_prediction, make_results, write_page
from tests.builders.runs import trained

pytestmark = needs_browser


@pytest.fixture
def opened(browser, page):
    """The page as it opens on a desktop, and the check that nothing went wrong on it."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.set_window_size(1280, 900)
    browser.get_log("performance")
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    # The viewer shows the photographs themselves.
    known = ("data:", f"{page.parent.as_uri()}/photos/")
    assert [url for url in urls if not url.startswith(known)] == [page.as_uri()]
    assert browser.execute_script("return window.owned") is None


def files_of(browser, gallery):
    script = "return [...document.querySelectorAll(arguments[0])].map((found) => found.title)"
    return run_script(browser, script, f"#{gallery} .photo")


def type_filter(browser, text):
    box = browser.find_element("id", "filter")
    box.clear()
    box.send_keys(text)
    # The page waits until the typing has stopped.
    wait_until(lambda: browser.execute_script("return state.filter") == text.lower())


def press(browser, *keys):
    from selenium.webdriver.common.keys import Keys

    for key in keys:
        browser.switch_to.active_element.send_keys(getattr(Keys, key))


def test_it_opens_with_the_figures_of_the_test_split(opened):
    assert opened.title == "run · poets report"
    assert texts(opened, ".hero .big") == ["75.0 %"]  # 6 of 8
    assert texts(opened, ".matrix td") == ["2", "", "", "", "2", "1", "1", "", "2"]


def test_a_cell_opens_onto_its_photograph(opened):
    opened.find_elements("css selector", ".matrix td")[5].click()

    assert texts(opened, "#cell h3") == ["blue taken for red: 1 photograph of 3"]
    assert files_of(opened, "cell") == ["blue/003.jpg"]
    assert colour_shown(opened, "#cell img") == "blue"


def test_the_viewer_shows_the_photograph_large_with_its_scores_and_file(opened, page):
    opened.find_element("css selector", "#mistakes .photo").click()

    assert colour_shown(opened, "#viewer img") == "blue"
    facts = dict(zip(texts(opened, "#viewer dt"), texts(opened, "#viewer dd"), strict=True))
    assert (facts["label"], facts["predicted"], facts["its score"]) == ("blue", "red", "0.97")
    link = opened.find_element("css selector", "#viewer a").get_attribute("href")
    assert link == (page.parent / "photos/blue/003.jpg").as_uri()

    press(opened, "ARROW_RIGHT")
    assert colour_shown(opened, "#viewer img") == "red"
    press(opened, "ESCAPE")
    assert not opened.find_element("id", "viewer").is_displayed()


def test_labels_are_text_whatever_they_hold(opened):
    assert EVIL in texts(opened, ".matrix tbody th")
    assert "onerror" in opened.find_element("id", "mistakes").text


def test_the_filter_keeps_what_matches_in_label_or_path(opened):
    type_filter(opened, "BLUE 003")

    assert files_of(opened, "found") == ["blue/003.jpg"]
    assert files_of(opened, "mistakes") == ["blue/003.jpg"]
    assert texts(opened, "#status") == ["1 test photograph matches “blue 003”"]

    type_filter(opened, "no such thing")
    assert files_of(opened, "found") == files_of(opened, "mistakes") == []


def test_the_other_split_has_its_own_figures_and_photographs(opened):
    opened.find_elements("css selector", ".switch span")[1].click()

    assert texts(opened, ".hero .big") == ["75.0 %"]  # 3 of 4
    assert files_of(opened, "mistakes") == ["red/004.jpg"]
    assert texts(opened, ".matrix td") == ["1", "", "", "", "1", "", "", "1", "1"]


def test_the_matrix_is_walked_and_opened_with_the_keyboard(opened):
    run_script(opened, "document.querySelector('.matrix td').focus()")
    press(opened, "ARROW_DOWN", "ARROW_RIGHT", "ARROW_DOWN", "ARROW_LEFT")

    assert texts(opened, ".reading") == [f"red taken for {EVIL}: 1 photograph of 3"]
    press(opened, "ENTER")
    assert files_of(opened, "cell") == ["red/003.jpg"]


def test_the_table_of_labels_is_sorted_by_any_column(opened):
    opened.find_elements("css selector", "#labels thead button")[0].click()
    assert texts(opened, "#labels tbody th") == [EVIL, "blue", "red"]

    opened.find_elements("css selector", "#labels thead button")[0].click()
    assert texts(opened, "#labels tbody th") == ["red", "blue", EVIL]


def test_doubtful_labels_and_duplicates_show_training_photographs(opened):
    assert files_of(opened, "suspects") == ["blue/005.jpg"]
    assert colour_shown(opened, "#suspects img") == "blue"
    assert len(opened.find_elements("css selector", "#duplicates img")) == 2
    assert "empty file" in opened.find_element("id", "unreadable").text


def test_charts_have_titles_and_axes(opened):
    assert len(opened.find_elements("css selector", ".chart svg[role=img]")) == 3
    axes = run_script(
        opened, "return [...document.querySelectorAll('.chart .axis')].map((a) => a.textContent)"
    )
    assert {"score of the predicted label", "step", "accuracy", "cross entropy"} <= set(axes)


CONTRAST = """
const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
const pen = canvas.getContext("2d", {willReadFrequently: true});
const rgba = (colour) => {
  pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data];
};
const light = ([r, g, b]) => {
  const linear = (v) => v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const [x, y, z] = [r, g, b].map(linear);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const found = rgba(getComputedStyle(at).backgroundColor);
    if (found[3] > 250) return found;
  }
};
const poor = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
  if (!own || !node.checkVisibility() || node.closest("script, .unseen")) continue;
  const style = getComputedStyle(node);
  const [a, b] = [light(rgba(node.closest("svg") ? style.fill : style.color)), light(behind(node))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.push(`${node.className} ${node.textContent} ${ratio}`);
}
return poor;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_light_and_dark(opened, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    opened.find_elements("css selector", ".matrix td")[5].click()
    paper = run_script(opened, "return getComputedStyle(document.body).backgroundColor")

    assert (paper == "rgb(246, 245, 241)") == (scheme == "light")
    # Every shade of a cell, also those that these figures do not have.
    shades = [f"{kind}-{level}" for kind in ("hit", "miss") for level in range(1, 6)]
    run_script(
        opened,
        "arguments[0].forEach((shade) => document.querySelector('.reading').append("
        "Object.assign(document.createElement('span'), {className: shade, textContent: shade})))",
        shades,
    )
    assert run_script(opened, CONTRAST) == []


def test_nothing_sticks_out_on_a_phone(opened):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened.find_elements("css selector", ".matrix td")[5].click()

    assert run_script(opened, "return document.documentElement.scrollWidth") == 390
    assert run_script(opened, "return document.querySelector('#cell').scrollWidth") <= 390


def test_a_hundred_labels_are_walked_inside_their_box(browser, page, tmp_path):
    from workers.storage.layout import Storage
    from workers.storage.plan import Run

    labels = tuple(f"label {i:02d}" for i in range(100))
    rows = [
        make_prediction(f"{label}/{i}.jpg", "test", label, labels[(n + i // 5) % 100])
        for n, label in enumerate(labels)
        for i in range(6)
    ]
    run = Run.open(Storage(page.parent / "storage"), "run")
    results = make_results(labels, rows)
    browser.get(write_page(run, results, tmp_path / "big.html", labels).as_uri())
    browser.find_elements("css selector", "#pairs button")[11].click()

    assert len(browser.find_elements("css selector", ".matrix td")) == 10_000
    assert texts(browser, "#cell h3") == ["label 11 taken for label 12: 1 photograph of 6"]
    assert run_script(browser, "return document.documentElement.scrollWidth <= innerWidth")
    seen = run_script(
        browser,
        "const box = document.querySelector('.frame .scroll').getBoundingClientRect();"
        "const cell = document.querySelector('td.open').getBoundingClientRect();"
        "return cell.left > box.left && cell.right < box.right && cell.top > box.top",
    )
    assert seen
    assert browser.get_log("browser") == []


def test_sets_of_labels_are_words_and_have_no_matrix(browser, ready_storage, tmp_path):
    table = make_shapes(tmp_path / "shapes", 120)
    table.write_text(table.read_text().replace("square", EVIL))
    run = trained(ready_storage, tmp_path / "shapes", label_file=table)
    browser.get_log("browser")

    browser.get(run.folder.report.as_uri())

    assert texts(browser, ".hero h3") == ["Test accuracy, all labels right"]
    assert not browser.find_element("id", "confusion").is_displayed()
    assert "Confusion" not in texts(browser, "#sections li:not([hidden]) a")
    assert "mean average precision" in texts(browser, ".tile dt")
    assert "Average precision" in [
        text.strip(" ↕↑↓") for text in texts(browser, "#labels thead th")
    ]
    assert sorted(texts(browser, "#labels tbody th")) == [EVIL, "circle", "triangle"]
    assert any(EVIL in text for text in texts(browser, ".caption"))
    # The reason of a suspect is the sentence of suspects.csv, with its sets as they are there.
    captions = texts(browser, ":is(#mistakes, #uncertain, #duplicates) .caption")
    assert captions
    assert not any('["' in text for text in captions)
    browser.find_element("css selector", "#uncertain .photo").click()
    assert browser.find_element("id", "viewer").is_displayed()
    press(browser, "ESCAPE")
    type_filter(browser, "triangle")
    assert files_of(browser, "uncertain")
    assert browser.get_log("browser") == []
    assert browser.execute_script("return window.owned") is None
