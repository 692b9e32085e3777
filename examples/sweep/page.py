"""A parameter sweep: each trial as a point and as a table row, and the best loss so far. streamvis serve page.py"""

from streamvis import panels

app = "sweep"


def init_page(doc, config):
    doc.title = "Sweep"
    doc.add_root(panels.points("trials", "log10(rate)", "width", color="loss", size=11, title="Trials by their loss"))
    doc.add_root(panels.curves("trial", ["loss", "best"], title="Loss of each trial, and the best so far", y_axis_type="log"))
    doc.add_root(panels.numbers("trial", ["best", "loss"], total=config["trials"], title="Progress"))
    doc.add_root(panels.table("trial", title="Trials"))
