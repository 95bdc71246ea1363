"""A browser, and a report with something of everything, for the tests of the page."""

import os

import pytest

from tests.builders.browsers import CHROMIUM, DRIVER, EVIL, LABELS
from tests.builders.datasets import make_data_set
from tests.builders.reports import make_prediction, make_results, write_page
from tests.builders.runs import make_run
from workers.storage.making import make_storage


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--disable-dev-shm-usage", "--force-prefers-reduced-motion"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    from workers.storage.layout import Storage

    folder = tmp_path_factory.mktemp("report")
    photos = make_data_set(folder / "photos", per_label=6, labels=("blue", "green", "red"))
    (photos / "green").rename(photos / EVIL)
    make_storage(folder / "storage")
    run = make_run(Storage(folder / "storage"), photos)
    predictions = [
        make_prediction(f"{label}/{i:03d}.jpg", split, label, label, 0.6 + i / 20)
        for label in LABELS
        for i, split in enumerate(("test", "test", "validation"))
    ]
    predictions += [
        make_prediction("blue/003.jpg", "test", "blue", "red", 0.97),
        make_prediction("red/003.jpg", "test", "red", EVIL, 0.55),
        make_prediction("red/004.jpg", "validation", "red", "blue", 0.75),
    ]
    results = make_results(
        LABELS,
        predictions,
        suspects=[("blue/005.jpg", "training", "blue", "red", 0.91, "its neighbours are red")],
        duplicates=[("red/004.jpg", "red/005.jpg", "validation", "training", "red", "red", 0.998)],
        unreadable=[("red/broken.jpg", "empty file")],
    )
    return write_page(run, results, folder / "report.html")
