"""What the pages of the desk show, read and nothing else: no page, no form, no move.

Every function takes the runtime and one operator's id, reads in one transaction, sees rows of that operator alone, and
is bounded: by a page, by a time, or by what is unresolved. Amounts are minor units with their currency, instants
microseconds UTC.
"""
