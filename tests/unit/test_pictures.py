"""Images: what the client makes of other libraries' images, and what a page makes of arrays and files."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from streamvis.client.values.copying import Copier, Refused
from streamvis.panels.contents import contents_of
from streamvis.panels.png_images import are_pictures, pictures_of


def pixels(picture):
    """What a browser would show of a data URI."""
    uri, _, _ = picture
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I;16", "F"])
def test_an_image_of_pillow_is_sent_as_pixels_that_a_page_shows(mode):
    image = Image.new("L", (7, 5), 200).convert("I") if mode == "I;16" else Image.new("L", (7, 5), 200).convert(mode)
    sent = Copier().tree(image.convert("I;16") if mode == "I;16" else image)
    assert sent.shape[:2] == (5, 7)
    (shown,) = pictures_of(sent)
    assert pixels(shown).shape[:2] == (5, 7)


def test_a_figure_of_matplotlib_is_sent_as_it_is_now_and_shown_as_a_file():
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2, 3])
    sent = Copier().tree({"figure": figure})
    assert sent["figure"].dtype == np.uint8 and sent["figure"].ndim == 1
    assert contents_of(sent) == "images"
    assert pixels(pictures_of(sent["figure"])[0]).shape[0] > 20


def test_the_bytes_of_an_image_file_come_through_unchanged():
    content = png(np.arange(48, dtype=np.uint8).reshape(6, 8))
    sent = Copier().tree(content)
    assert sent.tobytes() == content
    assert base64.b64decode(pictures_of(sent)[0][0].partition(",")[2]) == content


def test_other_bytes_are_refused_with_what_to_send():
    with pytest.raises(Refused, match="bytes cannot be stored"):
        Copier().tree(b"hello")


def test_an_image_is_not_a_row():
    with pytest.raises(Refused, match="not a row"):
        Copier().column(Image.new("L", (4, 4)))


@pytest.mark.parametrize(
    ("shape", "count", "size"),
    [
        ((6, 9), 1, (6, 9)),
        ((6, 9, 3), 1, (6, 9)),
        ((6, 9, 4), 1, (6, 9)),
        ((5, 6, 9), 5, (6, 9)),
        ((5, 6, 9, 1), 5, (6, 9)),
        ((5, 6, 9, 3), 5, (6, 9)),
        ((3, 8, 3), 3, (8, 3)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64, np.float16, bool])
def test_every_shape_and_dtype_of_images_is_drawn(shape, count, size, dtype):
    cells = (np.random.default_rng(0).random(shape) * (200 if dtype in (np.uint8, np.int64) else 1)).astype(dtype)
    found = pictures_of(cells)
    assert len(found) == count
    assert pixels(found[0]).shape[:2] == size


@given(st.floats(0.2, 1), st.integers(0, 2**32 - 1))
def test_floats_up_to_one_are_shown_on_their_own_scale_and_others_from_lowest_to_highest(top, seed):
    random = np.random.default_rng(seed)
    unit = random.random((8, 8)) * top
    np.testing.assert_allclose(pixels(pictures_of(unit)[0]), np.floor(np.clip(unit, 0, 1) * 255), atol=1)
    wide = 10 + random.random((8, 8)) * 90
    shown = pixels(pictures_of(wide)[0])
    assert shown.min() == 0 and shown.max() == 255


def test_numbers_below_zero_are_blue_and_above_orange():
    shown = pixels(pictures_of(np.array([[-1.0, 0, 0, 1.0]] * 4))[0])
    assert shown[0, 0, 2] > shown[0, 0, 0] and shown[0, 3, 0] > shown[0, 3, 2]
    assert shown[0, 0, 3] == shown[0, 3, 3] == 255 and shown[0, 1, 3] == 0


def test_what_is_not_finite_does_no_harm():
    assert pixels(pictures_of(np.full((4, 4), np.nan))[0]).shape[:2] == (4, 4)
    assert pixels(pictures_of(np.array([[np.inf, 0.5, -np.inf, np.nan]] * 4))[0]).shape[:2] == (4, 4)


@pytest.mark.parametrize("cells", [np.zeros(5), np.zeros((2, 3, 4, 5, 6)), "text", [], {"a": 1}, np.array(["a", "b"]), None, 3])
def test_what_is_no_image_is_told_apart(cells):
    assert not are_pictures(cells)


R = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("data", "holds"),
    [
        ({"image": R.random((3, 28, 28))}, "images"),
        ({"image": [R.random((4, 4)), R.random((9, 7))]}, "images"),
        ({"count": R.integers(0, 9, (10, 10))}, "matrix"),
        ({"count": [[1, 2], [3, 4]]}, "matrix"),
        ({"field": R.random((200, 300))}, "images"),
        ({"counts": np.ones(5), "edges": np.arange(6)}, "histogram"),
        ({"w": R.normal(size=1000)}, "histogram"),
        ({"x": R.random(9), "y": R.random(9), "class": np.arange(9)}, "points"),
        ({"samples": R.random(900), "rate": 8000}, "audio"),
        ({"text": "fine"}, "text"),
        ({"lines": ["a", "b"]}, "text"),
        ({"name": ["a", "b"], "score": [1.0, 2.0]}, "table"),
        ({"loss": 0.5, "nested": {"a": [1]}}, "tree"),
        ({}, "tree"),
    ],
)
def test_what_a_value_holds_is_found_out_from_its_data(data, holds):
    assert contents_of(data) == holds
