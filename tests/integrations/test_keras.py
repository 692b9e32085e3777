"""The callback for Keras, in a real fit."""

import keras
import numpy as np
import pytest

from streamvis.integrations.keras import StreamvisCallback

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("every", [1, 4])
def test_epochs_equal_the_history_and_batches_are_counted_on(every, app, only_run):
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x = np.random.default_rng(1).random((40, 4))
    history = model.fit(
        x, x[:, :1], batch_size=5, epochs=3, validation_split=0.2, verbose=0, callbacks=[StreamvisCallback(app, every=every)]
    )
    run = only_run()
    assert run.state == "finished" and run.config["epochs"] == 3 and run.config["optimizer"]["momentum"] == 0
    rows = run.rows("metrics").to_pydict()
    assert rows["step"] == [6, 13, 20] and rows["epoch"] == [0, 1, 2]
    assert {name: rows[name] for name in history.history} == history.history
    batches = run.rows("batch").to_pydict()
    assert batches["step"] == list(range(0, 21, every)) and batches["epoch"] == [step // 7 for step in batches["step"]]
    if every == 1:
        assert batches["loss"][6::7] == history.history["loss"]
