"""What a program hands over: data, copied in the call (`copying`, `arrays`), and its config as a description (`describing`)."""
