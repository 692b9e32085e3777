"""A producer: a loop that sends data at each step. Replace it with your own program.

python producer.py [ADDRESS OF THE ENDPOINT]
"""

import math
import random
import sys
import time

from streamvis import Client

APP = "start"
STEPS = 500


def main(url="http://localhost:8080", *, pause_s=0.05):
    weights = [random.gauss(0, 1) for _ in range(1000)]
    with Client(url, APP) as client:
        client.init({"steps": STEPS, "lr": 0.01})
        for step in range(STEPS):
            loss = math.exp(-step / 120) + 0.05 * random.random()
            client.sendl(step, "train", {"loss": loss, "lr": 0.01 * 0.99**step})
            if step % 10 == 0:
                weights = [0.98 * weight + random.gauss(0, 0.05) for weight in weights]
                client.sendl(step, "val", {"loss": 1.1 * loss + 0.02, "accuracy": 1 - loss / 1.2})
                client.send(step, "weights", {"weights": weights})
                client.sendl(step, "log", {"text": f"step {step}: loss {loss:.3f}"})
            time.sleep(pause_s)


if __name__ == "__main__":
    main(*sys.argv[1:2])
