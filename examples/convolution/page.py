"""A convolutional network as it learns, all in panels. streamvis serve page.py"""

from streamvis import panels

app = "convolution"
CLASSES = ["circle", "cross", "square", "stripes"]


def init_page(doc, config):
    doc.title = "Convolutional network"
    layers = [f"layer{i}" for i in range(config["layers"])]
    for panel in (
        panels.numbers("throughput", total=config["steps"]),
        panels.curves(["train", "val"], "loss", title="Loss", y_axis_type="log"),
        panels.curves(["train", "val"], "accuracy", title="Accuracy"),
        panels.curves("train", "rate", title="Learning rate"),
        panels.curves("gradients", layers, title="Gradient norms", y_axis_type="log"),
        panels.histograms("weights", title="Weights of the first layer"),
        panels.images("samples", captions=("true", "predicted")),
        panels.matrix("confusion", labels=CLASSES, confusion=True),
        panels.text("log"),
    ):
        doc.add_root(panel)
