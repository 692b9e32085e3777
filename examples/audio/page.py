"""A synthesizer: the last second to listen to, its spectrogram, and its loudness. streamvis serve page.py"""

from streamvis import panels

app = "audio"


def init_page(doc, config):
    doc.title = "Synthesizer"
    doc.add_root(panels.audio("sound", title="The last second"))
    doc.add_root(panels.images("spectrogram", title=f"Spectrogram, up to {config['rate'] // 2:,} Hz", height=320))
    doc.add_root(panels.curves("level", ["loudness", "pitch"], title="Loudness and pitch"))
