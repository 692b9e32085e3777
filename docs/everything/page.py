"""Every panel on one page. streamvis serve page.py"""

from streamvis import panels

app = "panels"


def init_page(doc, config):
    doc.title = "Panels"
    cloud = panels.points("embedding", color="digit", title="points(..., color='digit')")
    for panel in (
        panels.curves("train", smooth=0.9, title="curves('train', smooth=0.9)"),
        panels.numbers("train", title="numbers('train')"),
        panels.images("samples", captions=("true", "predicted"), title="images(..., captions=('true', 'predicted'))"),
        panels.matrix("confusion", confusion=True, title="matrix(..., confusion=True)"),
        panels.histograms("weights", title="histograms('weights')"),
        cloud,
        panels.table("train", title="table('train')"),
        panels.text("log", title="text('log')"),
        panels.audio("sound", title="audio('sound')"),
        panels.tree("facts", title="tree('facts')"),
        panels.config(title="config()"),
    ):
        doc.add_root(panel)
