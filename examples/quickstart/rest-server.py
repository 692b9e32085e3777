"""The REST server: python rest-server.py PORT [HOST]

HOST is this machine alone (127.0.0.1) unless given; 0.0.0.0 lets other machines in. Data are kept in the user's data folder, or
in the one that STREAMVIS_DATA names.
"""

import sys

from streamvis.cli import main

port, host = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
sys.argv = ["streamvis", "rest", "--port", port, "--host", host]
main()
