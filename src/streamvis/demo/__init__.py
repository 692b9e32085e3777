"""The demo: the producer `train` trains a network on handwritten digits, `page` shows the training."""
