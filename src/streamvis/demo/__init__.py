"""The demo: `train` is a producer that learns handwritten digits, `page` is the page that shows it learning."""
