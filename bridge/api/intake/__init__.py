"""What comes in: who sends it, and whether it is exactly what a request may say."""
