"""The demo's page: how a small neural network learns to read handwritten digits, made of panels.

Made to be copied. The panels fill themselves; the page knows the keys that come, not how they were made.

    streamvis serve page.py
"""

from bokeh.models import NumeralTickFormatter

from streamvis import panels

app = "digits"


def init_page(doc, config):
    doc.title = "Learning to read digits"
    splits = ("train", "val")
    accuracy = panels.curves([(split, "accuracy") for split in splits], title="Accuracy")
    accuracy.yaxis.formatter = NumeralTickFormatter(format="0%")
    cloud = panels.points("validation", color="true", marker="read", title="Last hidden layer (PCA); draw around some")
    cloud.axis.visible = False
    read = {"captions": ("true", "predicted"), "tile": 44}
    for panel in (
        panels.curves([(split, "loss") for split in splits], title="Loss", y_axis_type="log"),
        accuracy,
        panels.matrix("confusion", confusion=True, title="Confusion"),
        panels.images("weights", title="First-layer weights", tile=40),
        cloud,
        panels.images("validation", "image", select=cloud, title="Selected (true → predicted)", low=0, high=16, **read),
        panels.images("mistakes", title="Misclassified (true → predicted)", low=0, high=16, **read),
        panels.numbers("val", title="Validation", total=config["steps"]),
    ):
        doc.add_root(panel)
