"""The audit: what is written for ever is sealed in hash chains, behind the work; heads are signed and kept outside.

canon         how rows and seals are written down, and their hashes
sealed        which columns of which tables are sealed, and in which order their rows are looked at
chain         the seals: reading, and adding behind the head
sealing       from rows to seals, with a trailing delay; what came too late
signing       the keys (Ed25519) under heads
memory        what the database remembers of its mirrors
mirror        the second sink: signed heads in a file
findings      what an inspection may find, and its report
comparing     rows against the seals of their run: what was edited, deleted, inserted, swapped, moved
mirrored      the mirror's part of an inspection
inspection    everything recomputed, from the first seal to the last line of the mirror
rounds        one inspection per slot among all processes, and what it came to
standing      what can be told at once: how far sealing is, and whether something is wrong
"""
