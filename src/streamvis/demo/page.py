"""The demo's page: a small neural network learns to classify handwritten digits. Made of panels.

You can copy it. The panels load their own data; the page only knows the names of the keys.

    streamvis serve page.py
"""

from bokeh.models import NumeralTickFormatter

from streamvis import panels

app = "digits"


def init_page(doc, config):
    doc.title = "Learning to classify digits"
    splits = ("train", "val")
    accuracy = panels.curves([(split, "accuracy") for split in splits], title="Accuracy")
    accuracy.yaxis.formatter = NumeralTickFormatter(format="0%")
    cloud = panels.points("validation", color="true", marker="prediction", title="Last hidden layer (PCA); draw around some")
    cloud.axis.visible = False
    images = {"captions": ("true", "predicted"), "tile": 44}
    for panel in (
        panels.curves([(split, "loss") for split in splits], title="Loss", y_axis_type="log"),
        accuracy,
        panels.matrix("confusion", confusion=True, title="Confusion"),
        panels.images("weights", title="First-layer weights", tile=40),
        cloud,
        panels.images("validation", "image", select=cloud, title="Selected (true → predicted)", low=0, high=16, **images),
        panels.images("mistakes", title="Misclassified (true → predicted)", low=0, high=16, **images),
        panels.numbers("val", title="Validation", total=config["steps"]),
    ):
        doc.add_root(panel)
