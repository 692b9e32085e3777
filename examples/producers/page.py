"""One run with several producers: the loss and speed of each worker, and a shared log. streamvis serve page.py"""

from streamvis import panels

app = "producers"


def init_page(doc, config):
    doc.title = f"{config['workers']} workers"
    workers = [f"worker {i}" for i in range(config["workers"])]
    doc.add_root(panels.curves([(worker, "loss") for worker in workers], title="Loss of each worker"))
    doc.add_root(panels.curves([(worker, "batches per second") for worker in workers], smooth=0.98, title="Batches a second"))
    doc.add_root(panels.text("log", title="Log"))
    doc.add_root(panels.config())
