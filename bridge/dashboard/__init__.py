"""The pages at `/ops`: each reads or asks one service, and shows what it said. Nothing is loaded from elsewhere."""
