"""Plans of multi-label data sets: labels, splits, warnings, refusals."""

import pytest

from tests.builders.backbones import BACKBONE
from tests.builders.datasets import make_data_set, make_shapes
from tests.builders.pictures import make_picture
from tests.builders.runs import images_of, make_run
from workers.errors import DatasetError
from workers.storage.label_sets import split_labels
from workers.storage.plan import TrainingOptions


@pytest.fixture
def photos(tmp_path):
    for number in range(30):
        make_picture(tmp_path / "photos" / f"{number % 3}" / f"{number}.jpg", (9, 9, 9), number)
    return tmp_path / "photos"


def plan(storage, photos, labels, name="run", **options):
    """Plan a run; `labels` gives those of each image by its number."""
    rows = [f"{number % 3}/{number}.jpg,{labels(number)}" for number in range(30)]
    table = photos.with_suffix(".csv")
    table.write_text("\n".join(["path,labels", *rows]))
    return make_run(storage, photos, name, options=TrainingOptions(**options), label_file=table)


def test_the_manifest_holds_the_labels_of_each_image(storage, tmp_path):
    table = make_shapes(tmp_path / "shapes")

    run = make_run(storage, tmp_path / "shapes", label_file=table)

    found = run.plan
    assert found.labels == ("circle", "square", "triangle")
    assert found.training is not None
    assert found.training.multi_label
    assert found.images == 60
    written = dict(line.split(",") for line in table.read_text().splitlines()[1:])
    assert {row.path: ";".join(split_labels(row.label)) for row in images_of(run)} == written


def test_no_split_is_empty_and_images_stay_where_they_were_held_out(storage, photos):
    first = {row.path: row.split for row in images_of(plan(storage, photos, lambda n: "ab"[n % 2]))}
    for number in range(100, 130):
        make_picture(photos / "new" / f"{number}.jpg", (9, 9, 9), number)
    table = photos.with_suffix(".csv")
    more = "".join(f"\nnew/{number}.jpg,a" for number in range(100, 130))
    table.write_text(table.read_text() + more)

    second = images_of(make_run(storage, photos, "second", label_file=table))

    assert set(first.values()) == {"training", "validation", "testing"}
    assert len(second) == 60
    assert {row.path: row.split for row in second if row.path in first} == first


def test_other_labels_leave_the_split_as_it_is(storage, photos):
    first = images_of(plan(storage, photos, lambda n: "ab"[n % 2]))
    second = images_of(plan(storage, photos, lambda n: "a;b" if n % 5 else "c", name="second"))

    assert [row.split for row in first] == [row.split for row in second]


def test_a_rare_label_is_a_warning(storage, photos):
    held_out = {row.path for row in images_of(plan(storage, photos, lambda n: "a" * (n % 2)))
                if row.split != "training"}  # fmt: skip
    learnt = next(n for n in range(30) if f"{n % 3}/{n}.jpg" not in held_out)

    run = plan(storage, photos, lambda n: "a;rare" if n == learnt else "a" * (n % 2), name="second")

    warnings = run.plan.warnings
    assert len(warnings) == 3
    assert warnings[0].startswith("No validation image has the label 'rare', so its figures are")
    assert warnings[1].startswith("No test image has the label 'rare'")
    assert warnings[2].startswith("Labels with fewer than 20 images (2): 'a', 'rare'. ")


def test_a_label_that_every_image_has_is_a_warning(storage, photos):
    run = plan(storage, photos, lambda n: "all" + ";odd" * (n % 2))

    assert any("Every training image has the label 'all'" in w for w in run.plan.warnings)


def test_a_label_without_a_training_image_is_refused(storage, photos):
    rows = images_of(plan(storage, photos, lambda n: "a" * (n % 2)))
    tested = next(row.path for row in rows if row.split == "testing")

    def labels(number):
        return "only" if f"{number % 3}/{number}.jpg" == tested else "a"

    with pytest.raises(DatasetError, match=r"No training image has the label 'only'.*another seed"):
        plan(storage, photos, labels, name="second")
    assert not storage.run("second").path.exists()


def test_a_file_without_any_label_is_refused(storage, photos):
    with pytest.raises(DatasetError, match="gives no image any label"):
        plan(storage, photos, lambda n: "")


def test_too_few_images_for_the_splits_are_refused(storage, tmp_path):
    make_picture(tmp_path / "p" / "a.jpg", (1, 1, 1))
    make_picture(tmp_path / "p" / "b.jpg", (1, 1, 1))
    table = tmp_path / "p.csv"
    table.write_text("path,labels\na.jpg,x\nb.jpg,\n")

    with pytest.raises(DatasetError, match="2 images are too few for training, validation, testi"):
        make_run(storage, tmp_path / "p", label_file=table)


def test_a_plan_with_one_label_an_image_warns_of_nothing(storage, tmp_path):
    found = make_run(storage, make_data_set(tmp_path / "photos", per_label=20)).plan

    assert found.warnings == ()
    assert found.training is not None
    assert not found.training.multi_label
    assert found.backbone_id == BACKBONE.id
