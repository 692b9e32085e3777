"""Arrays of numbers reach the browser in binary form, whatever their dtype."""

from __future__ import annotations

import numpy as np
import pytest
from bokeh.core.serialization import Deserializer, Serializer
from bokeh.models import ColumnDataSource

from streamvis.page.documents import arrays

IMAGES = {
    "int64": np.array([[-(2**40), 7], [2**53, 0]]),
    "uint64": np.array([[2**63, 1]], dtype=np.uint64),
    "float16": np.array([[0.5, np.inf], [-2.0, 65504]], dtype=np.float16),
    "longdouble": np.array([[0.25, -1e300]], dtype=np.longdouble),
    ">i8": np.array([[2**40, -3]], dtype=">i8"),
    ">f4": np.array([[1.5, -3]], dtype=">f4"),
    "strided": np.arange(12, dtype=np.int64).reshape(3, 4)[:, ::2] + 2**33,
    "empty": np.empty((0, 3), np.float16),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_of_any_number_arrives_as_numbers(name):
    image = IMAGES[name]
    sent = Serializer().serialize(ColumnDataSource({"image": [image]}))
    (found,) = Deserializer().deserialize(sent).data["image"]
    assert found.dtype.kind in "iuf" and found.shape == image.shape
    assert np.array_equal(found.astype(float), image.astype(float))
    assert '"dtype": "object"' not in str(sent.content).replace("'", '"')


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None, 1], dtype=object), np.array(7, dtype=np.int64)])
def test_what_holds_no_numbers_is_left_to_bokeh(array):
    assert arrays.drawable(array) is array
    assert Serializer().encode(array) is not None


def test_an_array_that_bokeh_can_send_is_not_copied():
    image = np.zeros((4, 4), np.float32)
    assert arrays.drawable(image) is image
