"""`make bench-desk`: how long the pages of the desk take over a million transfers and ten thousand orphans."""
