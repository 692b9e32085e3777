"""Several runs on one page: a line for each run, and the mean of each group with its 95 % interval. streamvis serve page.py

Group the runs in the run list, or in the page's address: ?app=seeds&group=config.rate
"""

from bokeh.plotting import figure

from streamvis import band_source, panels

app = "seeds"


def init_page(doc, config, runs):
    groups = {}
    for run in runs:
        groups.setdefault(run.group or run.label, []).append(run)
    plot = figure(title="Validation loss of each run, and the mean of each group", y_axis_type="log")
    for name, its in groups.items():
        for run in its:
            plot.line("step", "loss", source=run.live_source("val", columns=["loss"]), color=run.color, alpha=0.35)
        band = band_source("val", columns=["loss"], runs=its, stat="ci95")
        plot.varea("step", "loss.low", "loss.high", source=band, color=its[0].color, alpha=0.2)
        plot.line("step", "loss.middle", source=band, color=its[0].color, line_width=3, legend_label=name)
    doc.add_root(plot)
    doc.add_root(panels.curves("val", "accuracy", title="Validation accuracy"))
    doc.add_root(panels.curves("train", "loss", title="Training loss", smooth=0.9))
    doc.add_root(panels.config())
