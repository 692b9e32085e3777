"""A PyTorch training loop that sends loss and parameters: python training_pytorch.py URL APP_NAME [--steps N]"""

import argparse

import torch

from streamvis import Client

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("url", nargs="?", default="http://localhost:8080")
arguments.add_argument("app_name", nargs="?", default="training")
arguments.add_argument("--steps", type=int, default=2000)
given = arguments.parse_args()

# Learn y = sin(x) from sample points.
model = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
x = torch.linspace(-3, 3, 100)[:, None]

with Client(given.url, given.app_name) as client:
    client.init({"lr": 0.01, "points": len(x)})
    for step in range(given.steps):
        y = model(x)
        loss = torch.nn.functional.mse_loss(y, torch.sin(x))
        client.sendl(step, "loss", {"step": step, "loss": loss})
        if step % 10 == 0:
            client.send(step, "curve", {"x": x[:, 0], "y": y[:, 0], "target": torch.sin(x[:, 0])})
            client.send(step, "parameters", dict(model.named_parameters()))  # copied before the optimizer changes them
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
