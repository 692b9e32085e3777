"""Three sine waves, a few steps a second: python my-app-client.py REST_HOST REST_PORT APP_NAME [--steps N] [--pace-s SECONDS]"""

import argparse
import math
import time

from streamvis import Client

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("rest_host")
arguments.add_argument("rest_port", type=int)
arguments.add_argument("app_name")
arguments.add_argument("--steps", type=int, default=10_000)
arguments.add_argument("--pace-s", type=float, default=0.2)
given = arguments.parse_args()

columns = ["y1", "y2", "y3"]
with Client(f"http://{given.rest_host}:{given.rest_port}", given.app_name) as client:
    client.init({"ycolumns": columns})
    for step in range(given.steps):
        waves = {name: math.sin(step / 20 + 2 * i) for i, name in enumerate(columns)}
        client.sendl(step, "main_plot", {"x": step, **waves})
        time.sleep(given.pace_s)
