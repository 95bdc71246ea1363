"""What tests of the report ask a real browser."""

import importlib.util
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
_HAS_SELENIUM = importlib.util.find_spec("selenium") is not None
needs_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER and _HAS_SELENIUM),
        reason="selenium is not installed, or Chromium or its chromedriver is not on the PATH",
    ),
]
EVIL = "<img src=x onerror=window.owned=1>"
LABELS = (EVIL, "blue", "red")  # in the order of the head


def run_script(browser, script, *arguments):
    return browser.execute_script(script, *arguments)


def texts(browser, selector):
    return run_script(
        browser,
        "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText.trim())",
        selector,
    )


COLOUR = """
const image = document.querySelector(arguments[0]);
const canvas = document.createElement("canvas");
canvas.width = canvas.height = 1;
const pen = canvas.getContext("2d");
return image.decode().then(() => {
  pen.drawImage(image, 0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data];
});
"""


def colour_shown(browser, selector):
    red, green, blue, _ = run_script(browser, COLOUR, selector)
    return max((red, "red"), (green, "green"), (blue, "blue"))[1]
