"""The REST server: python rest-server.py PORT [HOST]

HOST is 127.0.0.1 (only this machine) by default; 0.0.0.0 lets other machines connect. Data is stored in the user's data folder,
or in the folder STREAMVIS_DATA.
"""

import sys

from streamvis.cli import main

port, host = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
sys.argv = ["streamvis", "rest", "--port", port, "--host", host]
main()
