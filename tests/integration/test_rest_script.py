"""The REST API, walked through with curl as users would."""

import subprocess
from pathlib import Path

import pytest

from streamvis import Client
from streamvis.page.feeds.reader import EndpointReader
from support.conditions import wait_until

SCRIPT = Path(__file__).parents[2] / "examples" / "quickstart" / "rest-server-test.sh"


@pytest.mark.timeout(90)
def test_the_rest_script_prints_what_its_comments_say(start_endpoint):
    done = subprocess.run(["bash", SCRIPT, start_endpoint().url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All answers are as expected." in done.stdout


@pytest.mark.faults
@pytest.mark.timeout(120)
def test_a_killed_endpoint_loses_nothing_and_doubles_nothing(start_endpoint):
    endpoint = start_endpoint()
    with Client(endpoint.url, "faults") as client:
        run = client.init()
        for step in range(3_000):
            client.sendl(step, "k", {"x": step})
            if step in (500, 1500):
                client.flush()
                endpoint.kill()
            if step in (1000, 2000):
                endpoint.restart()
        assert client.flush(timeout_s=60)
        reader, cursor, steps = EndpointReader(endpoint.url), None, []
        while True:
            piece = reader.tail(run, after=cursor)
            cursor, steps = piece.cursor, steps + [int(step) for item in piece.items for step in item.steps]
            if not piece.more:
                break
    assert steps == list(range(3_000))


def test_parameters_that_an_optimizer_changes_in_place_arrive_as_they_were_when_sent(start_endpoint):
    torch = pytest.importorskip("torch")
    endpoint = start_endpoint()
    layer = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    sent = []
    with Client(endpoint.url, "torch") as client:
        run = client.init()
        for step in range(20):
            client.send(step, "weights", {"weight": layer.weight})
            client.sendl(step, "log", {"weight": layer.weight.reshape(1, 4, 2)})
            sent.append(layer.weight.detach().clone().numpy())
            loss = layer(torch.ones(3, 4)).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert client.flush()
        items = {item.key: item for item in EndpointReader(endpoint.url).tail(run, after=None).items if hasattr(item, "data")}
        assert (items["weights"].data["weight"] == sent[-1]).all()
        rows = [item for item in EndpointReader(endpoint.url).tail(run, after=None).items if item.key == "log"]
    cells = [cell for piece in rows for cell in piece.columns["weight"]]
    assert len(cells) == 20
    assert all((cell.reshape(2, 4) == original).all() for cell, original in zip(cells, sent, strict=True))


def test_a_tail_waits_for_news(start_endpoint):
    endpoint = start_endpoint()
    with Client(endpoint.url, "news") as client:
        run = client.init()
        reader = EndpointReader(endpoint.url)
        cursor = reader.run(run).cursor
        client.sendl(0, "k", {"x": 1})
        wait_until(lambda: reader.tail(run, after=cursor, wait_s=5).items, within_s=10, what="the row")
