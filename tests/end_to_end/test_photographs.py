"""What must be true on real photographs with real pretrained weights."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from orchestrator.plan import BackboneChoice, plan_training
from orchestrator.scan import scan_folder
from tests.end_to_end.programs import poets, poets_json
from workers.gathering import SPLITS, gather_bottlenecks
from workers.heads.evaluate import evaluate_head
from workers.heads.fit import fit_head
from workers.storage.layout import Storage
from workers.storage.plan import TrainingOptions, read_plan

pytestmark = pytest.mark.stack
FLOWERS, TRASH = Path("flowers"), Path("second", "trashnet")
COUNTS = {FLOWERS: (925, 5), TRASH: (1000, 5)}


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """One storage for the module: the bottlenecks are computed once."""
    return Storage(tmp_path_factory.mktemp("photographs"))


@pytest.fixture
def environment(data, storage):
    folders = f"{data / 'weights' / 'from_8bit_graph'}:{data / 'weights'}"
    return {"POETS_STORAGE": str(storage.root), "POETS_WEIGHTS_DIR": folders}


@pytest.fixture
def submitted(data, environment):
    """Return the result of submitting a folder; the second time it comes from the cache."""

    def submit(folder):
        return poets_json(
            "submit-dataset", data / folder, "--architecture", "mobilenet_0.50_224", **environment
        )

    return submit


@pytest.mark.parametrize("folder", COUNTS, ids=str)
def test_a_folder_of_photographs_is_computed_once_and_never_again(submitted, folder):
    images, labels = COUNTS[folder]

    first = submitted(folder)
    second = submitted(folder)

    assert second["seconds"] < first["seconds"]
    assert (first["images"], len(first["labels"]), first["lost"]) == (images, labels, 0)
    assert (first["computed"], first["cached"]) == (images, 0)
    assert (second["computed"], second["cached"]) == (0, images)
    assert second["test_accuracy"] == first["test_accuracy"] > 0.7


@pytest.mark.parametrize("folder", COUNTS, ids=str)
def test_scikit_learn_does_not_beat_the_head_by_more_than_a_point(data, submitted, storage, folder):
    plan = read_plan(storage.run(submitted(folder)["run"]))
    backbone = BackboneChoice(plan.architecture, plan.weights_digest, plan.backbone_id)
    ours, theirs = [], []
    for seed in range(5):
        run = plan_training(
            storage,
            scan_folder(data / folder),
            backbone,
            TrainingOptions(seed=seed),
            name=f"{folder.name}-seed{seed}",
            batch_size=None,
        )
        examples = gather_bottlenecks(storage, run, read_plan(run), lambda: None).examples
        training, validation, testing = (examples[split] for split in SPLITS)
        fit = fit_head(training, validation, 5, TrainingOptions(seed=seed), lambda: None)
        ours.append(evaluate_head(fit.head, testing, plan.labels, lambda: None).accuracy)
        plain = LogisticRegression(max_iter=5000).fit(training.bottlenecks, training.labels)
        theirs.append(plain.score(testing.bottlenecks, testing.labels))

    assert np.mean(theirs) - np.mean(ours) <= 0.01


def test_gradient_descent_as_in_the_codelab_is_nearly_as_good(data, submitted, environment):
    solved = submitted(FLOWERS)
    descended = poets_json("submit-dataset", data / FLOWERS, "--solver", "sgd", **environment)

    assert abs(solved["test_accuracy"] - descended["test_accuracy"]) < 0.06


def test_every_awkward_file_has_one_row_and_the_exit_code_is_0(
    data, submitted, environment, tmp_path
):
    submitted(FLOWERS)
    with (data / "awkward" / "MANIFEST.tsv").open(encoding="utf-8", newline="") as file:
        listed = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        verdicts = {row["file"].replace("\\n", "\n"): row["decodable"] for row in listed}

    job = poets_json("classify-dir", data / "awkward", "-o", tmp_path / "l.csv", **environment)

    with (tmp_path / "l.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert rows.keys() == verdicts.keys()
    assert job["images"] == len(rows) == 77
    assert job["failed"] == sum(row["status"] == "failed" for row in rows.values()) > 0
    for name, verdict in verdicts.items():
        if verdict != "optional":
            assert (rows[name]["status"] == "ok") == (verdict == "yes"), rows[name]
        assert bool(rows[name]["error"]) == (rows[name]["status"] == "failed")


def test_ten_added_photographs_cost_ten(data, submitted, environment, tmp_path):
    submitted(FLOWERS)
    grown = shutil.copytree(data / FLOWERS, tmp_path / "flowers")
    new = sorted((data / TRASH / "glass").iterdir())[:10]
    submitted_before = poets_json("submit-dataset", grown, **environment)
    for path in new:
        shutil.copy(path, grown / "roses" / f"new_{path.name}")

    result = poets_json("submit-dataset", grown, **environment)

    assert (submitted_before["images"], submitted_before["cached"]) == (925, 925)
    assert (result["images"], result["computed"], result["cached"]) == (935, 10, 925)


def test_a_photograph_is_named_as_the_codelab_names_it(data, submitted, environment):
    submitted(FLOWERS)
    daisy = data / "flowers" / "daisy" / "102841525_bd6628ae3c.jpg"

    out, err = poets("classify", daisy, **environment)

    lines = out.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("daisy (score = 0.")
    assert err == ""
