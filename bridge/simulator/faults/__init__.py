"""The lies: which cases there are, whom they strike, and how each is shown."""
