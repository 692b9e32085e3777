"""Q-learning on a grid: rewards, the value of each cell, and the visited cells. streamvis serve page.py"""

from streamvis import panels

app = "reinforcement"


def init_page(doc, config):
    doc.title = "Q-learning"
    doc.add_root(panels.curves("episode", "reward", smooth=0.95, title="Reward of an episode"))
    doc.add_root(panels.curves("episode", "length", y_axis_type="log", title="Length of an episode"))
    doc.add_root(panels.numbers("episode", total=config["episodes"], title="Now"))
    doc.add_root(panels.matrix("value", title="Value of each cell"))
    doc.add_root(panels.matrix("visits", title="Visits of the last 50 episodes", text=False))
    doc.add_root(panels.text("log", title="Log"))
