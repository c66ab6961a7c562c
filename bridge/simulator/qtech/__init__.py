"""QTech's transfer wallet v1.51: two phases, and a pending transfer that dies by itself."""
