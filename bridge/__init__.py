"""The transfer-wallet bridge: moves a player's money between the operator's wallet and the balances
that game providers hold, over networks that lose answers, and never loses, doubles or forgets a cent.

*transfer* one movement of one amount between two holders · *leg* one side of it, one outside effect ·
*evidence* one stored fact about one leg · *proof* evidence that decides · *custody* the ledger account
of value whose place is not proved · *case* the file in which people resolve an orphan · *posting* one
ledger row · *patience* the time after which an unproved transfer becomes orphaned.
"""

__version__ = "0.1.0"
