"""The edge: HTTP in, JSON out. Each view parses strictly, makes one service call and renders its answer."""
