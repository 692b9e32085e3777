"""A synthesizer: a player for the last second, its spectrogram, and loudness and pitch over time. streamvis serve page.py"""

from bokeh.layouts import column

from streamvis import panels

app = "audio"


def init_page(doc, config):
    doc.title = "Synthesizer"
    doc.add_root(panels.images("spectrogram", title=f"Spectrogram, up to {config['rate'] // 4:,} Hz"))
    doc.add_root(
        column(
            panels.audio("sound", title="The last second"),
            panels.curves("level", "loudness", title="Loudness in dB"),
            panels.curves("level", "pitch", title="Pitch in Hz"),
            spacing=10,
        )
    )
