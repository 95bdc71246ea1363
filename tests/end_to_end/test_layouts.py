"""Data sets as they are found on disks: what is in them besides photographs in label folders."""

import pytest

from tests.builders.backbones import TINY_OPTIONS
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import poets
from tests.builders.reports import read_table

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def test_thumbnails_of_a_nas_are_neither_trained_on_nor_labelled_but_named(photos, tmp_path):
    for number, folder in enumerate((photos, photos / "red", photos / "blue")):
        thumbnail = folder / "@eaDir" / "000.jpg" / "SYNOPHOTO_THUMB_M.jpg"
        make_picture(thumbnail, COLOURS["red"], 500 + number)
    (photos / "red" / "Thumbs.db").touch()

    _, err = poets("submit-dataset", photos, *TINY_OPTIONS)
    assert "80 images, 2 labels" in err
    assert "ignored: 4 (@eaDir/ 3, Thumbs.db 1)" in err

    _, err = poets("classify-dir", photos, "-o", tmp_path / "labels.csv")
    assert "80 images, ignored: 4 (@eaDir/ 3, Thumbs.db 1)" in err
    assert len(read_table(tmp_path / "labels.csv")) == 80
