"""Tensors on a device: cloned there in the call, brought to the host by the sender. A tensor of the tests plays the device."""

import numpy as np
import pytest

from streamvis.client.encoding import encode
from streamvis.client.intake import Intake
from streamvis.client.outbox import fetched
from streamvis.records import ValueChunk
from streamvis.wire.arrow import decode_tail_body


@pytest.fixture(scope="module")
def torch():
    """Imported by the test that needs it: each process of the tests collects this file, and importing it takes seconds."""
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def tensor_class(torch):
    class OnDevice(torch.Tensor):
        """A tensor that says it lies on a device, and counts the ways to the host."""

        fetched = 0
        full = False

        @property
        def device(self):
            return torch.device("xpu", 0)

        def detach(self):
            return super().detach().as_subclass(OnDevice)

        def clone(self, **options):
            if type(self).full:
                raise torch.OutOfMemoryError("no room on the device")
            return super().clone(**options).as_subclass(OnDevice)

        def cpu(self):
            type(self).fetched += 1
            return self.as_subclass(torch.Tensor)

        def numpy(self, **options):
            raise AssertionError("a call waited for the device")

    return OnDevice


@pytest.fixture
def on_device(torch, tensor_class):
    tensor_class.fetched, tensor_class.full = 0, False
    return lambda data, **options: torch.tensor(data, **options).as_subclass(tensor_class)


def test_a_call_never_waits_for_the_device_and_keeps_what_was_there(on_device, tensor_class, torch):
    intake = Intake()
    weights, loss, half = on_device([[1.0, 2.0]]), on_device(0.5), on_device([1.5], dtype=torch.bfloat16)
    value = intake.value(0, "v", {"w": [weights], "half": half, "deep": {"loss": loss}})
    rows = intake.rows(0, "r", {"loss": loss, "x": 1})
    column = intake.rows(0, "c", {"w": weights[0], "x": [1, 2]})
    assert tensor_class.fetched == 0
    assert value[5] >= weights.nbytes + half.nbytes + loss.nbytes
    weights.fill_(9)
    loss.fill_(9)
    decoded = {one.key: one for one in decode_tail_body(encode(map(fetched, [value, rows, column])).body)}
    assert tensor_class.fetched == 5
    np.testing.assert_array_equal(decoded["v"].data["w"][0], np.array([[1, 2]], dtype=np.float32))
    assert decoded["v"].data["half"].dtype == np.float32 and decoded["v"].data["deep"]["loss"] == 0.5
    assert decoded["r"].columns["loss"].tolist() == [0.5] and decoded["c"].columns["w"].tolist() == [1.0, 2.0]


def test_a_full_device_is_no_error_of_the_call(on_device, tensor_class):
    tensor = on_device([1.0])
    tensor_class.full = True
    entry = Intake().value(0, "v", {"w": tensor})
    tensor.fill_(9)
    (got,) = decode_tail_body(encode(map(fetched, [entry])).body)
    assert got.data["w"].tolist() == [1.0]


def test_a_device_that_fails_loses_its_record_alone(on_device, script, endpoint, said):
    script.start_run()
    bad = script.intake.value(0, "v", {"w": on_device([1.0])})
    bad[4].data["w"]._clone.cpu = lambda: (_ for _ in ()).throw(RuntimeError("device lost"))
    script.outbox.put(bad)
    script.outbox.put(script.intake.value(1, "v", {"w": [1.0]}))
    assert script.flush() and script.lost_records == 1 and "device lost" in said()[0]
    assert [one.step for one in endpoint.runs["run"] if isinstance(one, ValueChunk)] == [1]


def test_tensors_of_every_kind(torch):
    intake = Intake()
    sent = {
        "grad": torch.ones(2, requires_grad=True),
        "negated": torch.tensor([1 + 2j]).conj().imag,
        "bool": torch.tensor([True]),
        "sparse": torch.eye(2).to_sparse(),
        "f8": torch.ones(2).to(torch.float8_e4m3fn),
        "expanded": torch.tensor([1.0]).expand(3),
        "scalar": torch.tensor(3),
    }
    (got,) = decode_tail_body(encode(map(fetched, [intake.value(0, "v", sent)])).body)
    assert {name: np.asarray(part).tolist() for name, part in got.data.items()} == {
        "grad": [1, 1],
        "negated": [-2],
        "bool": [True],
        "sparse": [[1, 0], [0, 1]],
        "f8": [1, 1],
        "expanded": [1, 1, 1],
        "scalar": 3,
    }
    for refused in (torch.tensor([1j]), torch.ones(2, device="meta")):
        with pytest.raises(ValueError, match="complex|meta"):
            intake.value(0, "v", {"x": refused})
