"""What goes out: the shapes of answers, their bytes, their problems, and the document that declares them."""
