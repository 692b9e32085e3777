"""A melody, generated second by second: python producer.py URL audio [SECONDS]"""

import sys
import time

import numpy as np

from streamvis import Client

RATE = 8000
NOTES = [0, 2, 4, 7, 9, 12]


def main(url, app, seconds=100_000):
    random = np.random.default_rng(0)
    t = np.arange(RATE) / RATE
    with Client(url, app) as client:
        client.init({"rate": RATE})
        for second in range(seconds):
            pitches = 220 * 2 ** (random.choice(NOTES, 4) / 12)
            pitch = np.repeat(pitches, RATE // 4)
            phase = 2 * np.pi * np.cumsum(pitch) / RATE
            fade = random.uniform(0.5, 1) * np.exp(-6 * (t % 0.25))
            sound = (fade * (np.sin(phase) + 0.4 * np.sin(2 * phase) + 0.2 * np.sin(3 * phase)) / 2).astype(np.float32)
            windows = np.lib.stride_tricks.sliding_window_view(sound, 256)[::64] * np.hanning(256)
            power = np.log10(np.abs(np.fft.rfft(windows)) + 1e-3)
            client.send(second, "sound", {"samples": sound, "rate": RATE})
            client.send(second, "spectrogram", {"image": np.clip((power.T[64::-1] + 2) / 3.5, 0, 1)})
            loudness = 20 * np.log10(np.sqrt(np.mean(sound**2)))
            client.sendl(second, "level", {"loudness": loudness, "pitch": pitches.mean()})
            time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
