"""A page of panels for the producer in this folder.

streamvis serve page.py
"""

from streamvis import panels

app = "start"


def init_page(doc, config):
    doc.title = app
    doc.add_root(panels.curves(["train", "val"], "loss", title="Loss"))
    doc.add_root(panels.curves("val", "accuracy", title="Accuracy"))
    doc.add_root(panels.numbers("train", title="Training"))
    doc.add_root(panels.histograms("weights", title="Weights"))
    doc.add_root(panels.text("log", title="Log"))
    doc.add_root(panels.config())
