"""``keras.utils.image_dataset_from_directory`` and ``model.predict``, as Keras' guides have it.

Tried: batches of 8 to 64 (no difference that repeats), XLA (28 images a second),
`steps_per_execution` (90).
"""

from typing import Any

import numpy as np

from tests.benchmarks.material import SIZE, build_keras
from tests.benchmarks.rivals.meter import Meter

_BATCH = 16


def main() -> None:
    meter = Meter()
    import keras

    material = meter.material
    model: Any = build_keras(material)
    dataset = keras.utils.image_dataset_from_directory(
        material.photographs,
        image_size=(SIZE, SIZE),
        batch_size=_BATCH,
        label_mode=None,
        shuffle=False,
        verbose=False,
    )
    order = np.argsort(dataset.file_paths)
    dataset = dataset.prefetch(2)
    model.predict(dataset.take(2), verbose=0)
    meter.start()
    found = model.predict(dataset, verbose=0)
    meter.stop()
    meter.report(found[order], "keras", "tensorflow")


if __name__ == "__main__":
    main()
