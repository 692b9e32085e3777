"""One run with several producers: each worker's loss, and what all have done. streamvis serve page.py"""

from streamvis import panels

app = "producers"


def init_page(doc, config):
    doc.title = f"{config['workers']} workers"
    workers = [f"worker {i}" for i in range(config["workers"])]
    doc.add_root(panels.curves(workers, "loss", title="Loss of each worker"))
    doc.add_root(panels.curves(workers, "batches/s", title="Batches a second"))
    doc.add_root(panels.text("log"))
    doc.add_root(panels.config())
