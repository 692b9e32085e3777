"""A boiler, measured ten times a second, with alarms: python producer.py URL sensor [STEPS]"""

import math
import random
import sys
import time
from datetime import UTC, datetime

from streamvis import Client

LIMIT = 82.0


def main(url, app, steps=1_000_000):
    temperature, was_hot = 70.0, False
    with Client(url, app) as client:
        client.init({"limit": LIMIT, "rate_hz": 10})
        for step in range(steps):
            temperature += 0.08 * (75 + 8 * math.sin(step / 40) - temperature) + random.gauss(0, 0.3)
            pressure = 1.2 + temperature / 50 + random.gauss(0, 0.01)
            row = {"temperature": temperature, "low": temperature - 0.9, "high": temperature + 0.9, "pressure": pressure}
            client.sendl(step, "boiler", row)
            if temperature > LIMIT and not was_hot:
                client.sendl(step, "alarm", {"at": datetime.now(UTC), "temperature": temperature, "text": "too hot"})
            was_hot = temperature > LIMIT
            time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
