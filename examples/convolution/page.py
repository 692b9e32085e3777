"""A convolutional network during training, all in panels. streamvis serve page.py"""

from streamvis import panels

app = "convolution"
CLASSES = ["circle", "cross", "square", "stripes"]


def init_page(doc, config):
    doc.title = "Convolutional network"
    layers = [f"layer{i}" for i in range(config["layers"])]
    for panel in (
        panels.numbers("throughput", title="Throughput"),
        panels.curves(["train", "val"], "loss", title="Loss", y_axis_type="log"),
        panels.curves(["train", "val"], "accuracy", title="Accuracy"),
        panels.curves("train", "rate", title="Learning rate"),
        panels.curves("gradients", layers, title="Gradient norms", y_axis_type="log"),
        panels.histograms("weights", title="Weights of the last convolution"),
        panels.images("samples", captions=("true", "predicted"), title="Samples (true → predicted)"),
        panels.matrix("confusion", labels=CLASSES, confusion=True, title="Confusion"),
        panels.text("log", title="Log"),
    ):
        doc.add_root(panel)
