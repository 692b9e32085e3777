"""A simulated market: single trades, combined into bars of twenty.

python producer.py http://localhost:8080 candlesticks [BARS]
"""

import sys
import time

import numpy as np

from streamvis import Client

TRADES_PER_BAR, SECONDS_PER_TRADE = 20, 0.02


def main(url, app, bars=100_000):
    random = np.random.default_rng()
    price, closes = 100.0, []
    with Client(url, app) as client:
        client.init({"trades_per_bar": TRADES_PER_BAR})
        for number in range(bars):
            prices, volume = [price], 0
            for _ in range(TRADES_PER_BAR):
                price *= float(np.exp(random.normal(0, 0.001)))
                prices.append(price)
                volume += int(random.geometric(0.02))
                bar = {
                    "number": number,
                    "open": prices[0],
                    "high": max(prices),
                    "low": min(prices),
                    "close": price,
                    "volume": volume,
                    "mean": float(np.mean([*closes[-19:], price])),
                }
                # A value: the current bar, replaced at the next trade. In lists, as the page's Bokeh source needs it.
                client.send(number, "current", {name: [cell] for name, cell in bar.items()})
                time.sleep(SECONDS_PER_TRADE)
            closes.append(price)
            client.sendl(number, "bars", bar)  # a row: this bar is finished


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
