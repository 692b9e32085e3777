"""Q-learning finds its way through a grid with pits: python producer.py URL reinforcement [EPISODES]"""

import sys
import time

import numpy as np

from streamvis import Client

SIZE, GOAL, PITS = 8, (7, 7), {(2, 3), (3, 3), (5, 1), (5, 5), (6, 4)}
MOVES = [(-1, 0), (1, 0), (0, -1), (0, 1)]


def main(url, app, episodes=3000):
    random = np.random.default_rng(0)
    q, visits = np.zeros((SIZE, SIZE, 4)), np.zeros((SIZE, SIZE), int)
    with Client(url, app) as client:
        client.init({"episodes": episodes, "size": SIZE, "discount": 0.97, "rate": 0.2})
        for episode in range(episodes):
            cell, total, length, explore = (0, 0), 0.0, 0, max(0.05, 1 - episode / 400)
            while cell != GOAL and cell not in PITS and length < 200:
                action = random.integers(4) if random.random() < explore else int(q[cell].argmax())
                after = tuple(np.clip(np.add(cell, MOVES[action]), 0, SIZE - 1).tolist())
                reward = 1.0 if after == GOAL else -1.0 if after in PITS else -0.01
                ahead = 0 if after == GOAL or after in PITS else q[after].max()
                q[*cell, action] += 0.2 * (reward + 0.97 * ahead - q[*cell, action])
                visits[after] += 1
                cell, total, length = after, total + reward, length + 1
            client.sendl(episode, "episode", {"reward": total, "length": length, "exploration": explore})
            if episode % 50 == 0:
                client.send(episode, "value", {"value": q.max(axis=2)})
                client.send(episode, "visits", {"count": visits})
                client.sendl(episode, "log", {"text": f"episode {episode}: {'reached the goal' if cell == GOAL else 'failed'}"})
                visits[:] = 0
            time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
