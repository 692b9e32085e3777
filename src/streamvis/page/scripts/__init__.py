"""Page scripts: what a script is made of, and running it once for each session. Reads and runs the code of authors."""
