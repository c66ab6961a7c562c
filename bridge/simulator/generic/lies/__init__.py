"""How a provider of the contract lies or errs: requests, the feed, and answers in good form that are wrong."""
