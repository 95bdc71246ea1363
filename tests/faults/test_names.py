"""Names of any bytes come back exactly from every output of a run and of a job."""

import csv
import json
import os
import re
import urllib.parse
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.builders.accounting import assert_all_accounted
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import poets_json
from tests.faults.small import SMALL
from workers.storage.names import decode_name

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
NAMES = [
    b"new\nline.jpg",
    b"re\rturn.jpg",
    b'quo"te.jpg',
    b"com,ma.jpg",
    b"not utf8 \xe9\xff.jpg",
    b"n" * 251 + b".jpg",
    b"-rf.jpg",
    "\u202egnp.exe \u05e9\u05dc\u05d5\u05dd.jpg".encode(),
    b"back\\slash \\x41.jpg",
    b"<b>&amp;.jpg",
]
LABEL = b'r\xe9d,"\n\\x41'


@pytest.fixture
def odd(few, tmp_path):
    """`few` below an odd folder, with a good and a broken picture of each name."""
    root = tmp_path / os.fsdecode(b"ph\xff \\x41 ?#%")
    few.rename(root)
    (root / "red").rename(root / os.fsdecode(LABEL))
    for number, name in enumerate(map(os.fsdecode, NAMES)):
        make_picture(root / os.fsdecode(LABEL) / "x.jpg", COLOURS["red"], 500 + number).rename(
            root / os.fsdecode(LABEL) / name
        )
        (root / "blue" / name).write_bytes(b"no image")
    return root


def files_in(root):
    return {os.fsencode(path.relative_to(root)) for path in root.glob("*/*")}


def broken_in(root):
    return {b"blue/" + name for name in NAMES}


def names_of(rows):
    """Return the names on disk that rows speak of, as bytes; each once."""
    found = [os.fsencode(decode_name(row["path"])) for row in rows]
    assert len(found) == len(set(found))
    return set(found)


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_jsonl(path):
    return [json.loads(line) for line in Path(path).read_bytes().decode().split("\n")[:-1]]


def read_parquet(path):
    return pq.read_table(path).to_pylist()


def test_every_file_of_a_model_has_the_very_names(odd, tmp_path):
    result = poets_json("submit-dataset", odd, *SMALL)

    model = Path(result["model"])
    assert (result["images"], result["quarantined"], result["lost"]) == (44, len(NAMES), 0)
    assert_all_accounted(tmp_path / "storage", result["run"], quarantined=len(NAMES))
    labels = model.joinpath("labels.txt").read_text("utf-8").split("\n")[:-1]
    assert {os.fsencode(decode_name(label)) for label in labels} == {b"blue", LABEL}
    assert {os.fsencode(decode_name(label)) for label in result["labels"]} == {b"blue", LABEL}
    assert names_of(read_csv(model / "quarantine.csv")) == broken_in(odd)
    assert names_of(read_parquet(model / "predictions.parquet")) <= files_in(odd)
    for name in ("mistakes.csv", "suspects.csv", "duplicates.csv"):
        assert names_of(read_csv(model / name)) <= files_in(odd)
    page = (model / "report.html").read_text("utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert {os.fsencode(decode_name(path)) for path, _ in data["unreadable"]} == broken_in(odd)
    # Each photograph is linked to its file.
    assert data["photographs"]
    for path, *_, link in data["photographs"]:
        url = data["link"] + (link or urllib.parse.quote(path))
        assert os.path.isfile(urllib.parse.unquote_to_bytes(url.removeprefix("file://")))


def test_every_format_of_a_job_has_the_very_names(odd, undisturbed_few, tmp_path):
    readers = {"csv": read_csv, "jsonl": read_jsonl, "parquet": read_parquet}
    for form, read in readers.items():
        output = tmp_path / f"labels.{form}"

        job = poets_json("classify-dir", odd, "--model", undisturbed_few.model, "-o", output)

        rows = read(output)
        assert names_of(rows) == files_in(odd)
        assert names_of(row for row in rows if row["status"] == "failed") == broken_in(odd)
        assert_all_accounted(tmp_path / "storage", job["job"], quarantined=len(NAMES))
