"""How a dict of metrics becomes rows and values."""

import numpy as np
import pytest
from PIL import Image

from streamvis.metrics import Keys, place_of, sorted_metrics, whole_step


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("loss", ("metrics", "loss")),
        ("train/loss", ("train", "loss")),
        ("train/layer/norm", ("train", "layer/norm")),
        ("/loss", ("metrics", "/loss")),
        ("train/", ("metrics", "train/")),
    ],
)
def test_the_key_is_the_text_before_the_first_slash(name, place):
    assert place_of(name) == place


def test_scalars_of_one_key_are_one_row_and_arrays_are_values():
    image, matrix = np.zeros((8, 8, 3), np.uint8), np.eye(2)
    rows, values = sorted_metrics(
        {
            "train/loss": 0.5,
            "train/acc": np.float32(1),
            "lr": np.array([0.1]),
            "say": "text",
            "no": None,
            "a/image": image,
            "m": matrix,
        }
    )
    assert rows == {"train": {"loss": 0.5, "acc": 1}, "metrics": {"lr": np.array([0.1]), "say": "text", "no": None}}
    assert values["a/image"]["image"] is image and values["m"]["data"] is matrix


def test_a_dict_of_scalars_is_flattened_and_one_with_an_array_is_one_value():
    rows, values = sorted_metrics(
        {"train": {"loss": 1, "deep": {"x": 2}}, "weights": {"counts": np.arange(3), "edges": [0, 1, 2, 3]}}
    )
    assert rows == {"train": {"loss": 1, "deep/x": 2}}
    assert set(values) == {"weights"} and set(values["weights"]) == {"counts", "edges"}


def test_pictures_are_images():
    _, values = sorted_metrics(
        {"a": Image.new("RGB", (2, 2)), "b": [Image.new("L", (2, 2))], "c": b"\x89PNG\r\n\x1a\n", "d": [1, 2]}
    )
    assert [list(value) for value in values.values()] == [["image"], ["image"], ["image"], ["data"]]


@pytest.mark.parametrize(
    ("step", "whole"), [(3, 3), (np.int32(4), 4), (2.9, 2), (-1, 0), (None, 0), (float("inf"), 0), (np.array(7), 7)]
)
def test_any_step_of_a_framework_becomes_a_whole_number(step, whole):
    assert whole_step(step) == whole


def test_rows_and_values_of_one_name_get_keys_of_their_own():
    keys = Keys()
    assert [keys.of_rows("a"), keys.of_value("a"), keys.of_rows("a"), keys.of_value("b"), keys.of_rows("b")] == [
        "a",
        "a value",
        "a",
        "b",
        "b rows",
    ]
