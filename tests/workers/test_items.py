"""The pieces of a run's work: their keys, and the tasks that do them."""

import pytest

from workers.errors import RunError
from workers.items import CONVERT, TRAIN, Item


@pytest.mark.parametrize("item", [CONVERT, TRAIN, Item.of_batch(0), Item.of_batch(10_000)])
def test_a_key_names_its_item(item):
    assert Item.parse(item.key) == item


@pytest.mark.parametrize(
    "key", ["", "-1", "01", "1.0", " 1", "1\n", "²", "٣", "Train", "../train", "9" * 5000]
)
def test_a_key_that_names_nothing_is_refused(key):
    with pytest.raises(RunError, match="is no piece of a run"):
        Item.parse(key)


@pytest.mark.parametrize(
    ("item", "kind", "task", "arguments"),
    [
        (CONVERT, "label", "poets.convert_backbone", ("spring",)),
        (TRAIN, "train", "poets.train_head", ("spring",)),
        (Item.of_batch(7), "train", "poets.compute_batch", ("spring", 7)),
        (Item.of_batch(7), "label", "poets.label_batch", ("spring", 7)),
    ],
)
def test_an_item_has_a_task(item, kind, task, arguments):
    assert item.task(kind) == task
    assert item.arguments("spring") == arguments
