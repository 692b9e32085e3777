"""An endpoint that asks its producers to gather, as one does that has very many of them: `python crowded.py rest ...`."""

from streamvis.cli import main
from streamvis.endpoint import writer

writer._BATCHES_PER_S = 2.0

if __name__ == "__main__":
    main()
