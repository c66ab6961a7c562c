"""`make bench`: what the bridge costs, as ratios measured side by side in one run."""
