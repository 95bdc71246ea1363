"""Suspects in a real browser: the photograph itself, the suggestion, ticks, corrections.csv."""

import csv
import io
import shutil

import pytest

from tests.builders.browsers import colour_shown, needs_browser, run_script, texts
from tests.builders.programs import wait_until

pytestmark = needs_browser


@pytest.fixture
def suspects(browser, page):
    browser.get(page.as_uri())
    return browser


def facts_of(browser):
    return dict(zip(texts(browser, "#viewer dt"), texts(browser, "#viewer dd"), strict=True))


def original(browser):
    script = "const i = document.querySelector('#viewer .original'); return i && !i.hidden && i.src"
    return run_script(browser, script)


def test_an_enlarged_suspect_shows_the_suggestion_its_score_and_the_photograph(suspects, page):
    suspects.find_element("css selector", "#suspects .photo").click()

    facts = facts_of(suspects)
    assert (facts["label"], facts["looks like"], facts["its score"]) == ("blue", "red", "0.91")
    assert facts["because it"] == "its neighbours are red"
    assert "predicted" not in facts
    wait_until(lambda: original(suspects))
    assert original(suspects) == (page.parent / "photos/blue/005.jpg").as_uri()


def test_the_preview_stays_where_the_photograph_is_gone(suspects, page, tmp_path):
    shutil.move(page.parent / "photos", tmp_path / "elsewhere")
    try:
        suspects.get(page.as_uri())
        suspects.find_element("css selector", "#suspects .photo").click()

        wait_until(lambda: original(suspects) is None)
        assert colour_shown(suspects, "#viewer img") == "blue"
    finally:
        shutil.move(tmp_path / "elsewhere", page.parent / "photos")
        suspects.get_log("browser")  # that it is gone


def corrections_of(browser):
    text = run_script(browser, "return correctionsFile()")
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))


def test_ticks_become_corrections_with_the_chosen_label(suspects):
    button = suspects.find_element("css selector", "#corrections button")
    assert not button.is_enabled()

    suspects.find_element("css selector", "#suspects .fix input").click()
    assert corrections_of(suspects)[1:] == [["blue/005.jpg", "red", "blue"]]
    assert texts(suspects, "#corrections code") == ["poets relabel run corrections.csv"]

    # Enlarged, it may get any label; the tick below the card follows.
    suspects.find_element("css selector", "#suspects .photo").click()
    choice = suspects.find_element("css selector", "#viewer select")
    choice.find_elements("tag name", "option")[0].click()
    label = choice.get_attribute("value")
    assert corrections_of(suspects) == [["path", "label", "was"], ["blue/005.jpg", label, "blue"]]
    assert label in texts(suspects, "#suspects .fix")[0]

    suspects.find_element("css selector", "#viewer .fix input").click()
    assert corrections_of(suspects)[1:] == []


def test_the_file_is_downloaded_without_a_network(suspects, tmp_path):
    suspects.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    suspects.find_element("css selector", "#suspects .fix input").click()

    suspects.find_element("css selector", "#corrections button").click()

    file = tmp_path / "corrections.csv"
    wait_until(file.exists)
    assert file.read_text("utf-8-sig").splitlines()[1] == '"blue/005.jpg","red","blue"'


def test_a_card_says_nothing_twice(suspects):
    lines = texts(suspects, "#suspects .photo")[0].splitlines()

    assert lines == ["filed under blue", "looks like red", "0.91", "005.jpg"]


BROKEN_WORDS = """
const broken = [];
for (const one of document.querySelectorAll("#labels th, #suspects .line, h2, h3, .note")) {
  const walk = document.createTreeWalker(one, NodeFilter.SHOW_TEXT);
  for (let text = walk.nextNode(); text; text = walk.nextNode()) {
    for (const word of text.data.matchAll(/[A-Za-z]+/g)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map((box) => box.top)).size > 1) broken.push(word[0]);
    }
  }
}
return broken;
"""


def test_no_word_is_broken_on_a_phone(suspects):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    suspects.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for cell in ("#labels tbody th button", "#suspects .line b"):
        script = "for (const one of document.querySelectorAll(arguments[0])) one.textContent = "
        run_script(suspects, script + "'sunflowers'", cell)

    assert run_script(suspects, BROKEN_WORDS) == []
    assert run_script(suspects, "return document.documentElement.scrollWidth") == 390
    suspects.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_calibration_shows_its_uncertainty_and_how_many(suspects):
    script = "return document.querySelectorAll(arguments[0]).length"
    spreads, tallies = (
        run_script(suspects, script, f"#curves {one}") for one in (".spread", ".tally")
    )

    assert spreads == tallies > 0
    low, high = run_script(suspects, "return wilson(1, 10)")
    assert (round(low, 4), round(high, 4)) == (0.7225, 1.0)
