"""What the page says beside its figures: what is compared, and what is not."""

INTRODUCTION = """\
`make bench` writes this page. The same work for all, on one machine, in one run: a client asks over HTTP for a transfer
of money to a provider; the intent is durable before the provider is asked, and the outcome before the client is told.
Contestants take turns, round by round, and a ratio is the median of the ratios within the rounds, because machines are
noisy. Compare inside one table only. The first figure of each pair is the bridge's throughput over the floor's, the
second its CPU time per transfer over the floor's, the third its throughput over that of DBOS Transact, all at a
provider that answers at once; raw figures: [figures.json](benchmarks/figures.json)."""

WANTED = """\
The targets that were set for the bridge, and what this run measured. Why most are out of reach with ledger, evidence,
history and outbox in the same commits: [decisions](decisions.md)."""

SETTINGS = """\
Clients, provider and database run on the same machine and take part of it. Commits are durable for all: PostgreSQL with
fsync and synchronous commit, SQLite in WAL with `synchronous=FULL`, Restate with its defaults, which sync its log. No
checkpoint of PostgreSQL falls into a round; in production its cost comes on top for all, and most for whoever writes
most."""

COMPARED = """\
## Who takes part

- **bridge**: `POST /v1/transfers` at `bridge serve` with `python -m jobs` beside it, at a provider of
  [our own contract](provider-contract.md) with signed requests. Idempotency key, validation, ledger in double entry,
  evidence, attempts, history, outbox, figures and logs are all on. One default is changed: the job that verifies every
  invariant runs once and not every five minutes, for it would work in the turns of others; what it takes stands under
  *Growth*.
- **bridge on gunicorn**: the same, `gthread` instead of granian.
- **floor**: what cannot be left out, in [one file](../benchmarks/apps/floor.py): one statement for the intent, one
  request, one statement for the outcome, on the same server, with the driver's own pool and `urllib3`. It keeps no
  ledger, checks nothing, and never finds out what became of a lost answer. (The bridge goes below the driver's cursors
  for its two statements of a plain transfer, so one could be written that is a little lower.)
- **DBOS Transact**: a workflow of one step behind a WSGI door on granian; the key is the workflow's id. Its pool is as
  wide as it is by default, which is wider than the 16 connections of the bridge and the floor.
- **Procrastinate**: a door that defers a job and a worker that does it. Nobody can wait for a job there, so a trigger
  of ours notifies the door when its end is committed; without it the client would have to poll.
- **Restate**: its own ingress and server (it is its own database), and a service of its Python SDK on hypercorn.

The peers do less: they make steps durable, and know nothing of money. Whoever builds a transfer wallet on one of them
still has to write what the bridge brings along: a ledger, evidence, look-ups after a lost answer, cases for people. A
peer repeats a step whose end it does not know; that is right only at a provider that recognises an id, as this one
does."""

THROUGH = """\
{connections} clients, each asking again as soon as it was answered; {rounds} rounds of {seconds} s after a warm-up.
Median ± half of the range. At a provider that answers after 200 ms so many clients cannot have more than 160 transfers
a second: there the throughputs say that everybody waits, and only the CPU time compares."""

COSTS = """\
CPU time is that of all processes that work for a contestant: web servers, jobs or workers, Restate's server, and
PostgreSQL with its background processes; not the clients, not the provider. What the others ask of the same server
while they wait is in it too: a few polls a second. Memory is their proportional set size (PSS)
at the end of a round, the whole PostgreSQL server included.

*Not confirmed* counts what was refused, and moved nothing. Where 32 clients write to SQLite at once, one transfer may
be overtaken for a second, and the next one of its player is answered 409 `lane_unresolved`, to be asked for again."""

LATE = """\
Arrivals at even distances, whether or not earlier ones were answered; a time runs from the instant at which a transfer
was due. What was never answered counts with the time until it was given up, what was refused only in the last column.
Half of its own capacity is half of the throughput above, at 200 ms of what 32 clients can have; {rate:.0f}/s is the
same for all. Medians of {rounds} rounds of {seconds} s."""

CRASHED = """\
All processes of a contestant are killed at once while 32 clients wait for a provider that answers after 200 ms, and
started again after a second; PostgreSQL lives on. No client asks again. Each is struck once, and recovers alone: the
next is struck when it knows the end of all, or after {alone:.0f} s. {wait:.0f} s after its restart the provider's own
books say what was executed, and the system what it believes. *Lost*: told as done and never executed, or executed and
denied. *Doubled*: executed more than once. *Unresolved*: the system does not know. *Sent twice*: the provider was asked
again for money; it recognised the id, another one would have moved the money twice."""

GREW = """\
Two bridges on one PostgreSQL server, alike but for their tables. The rows are filled in by SQL after the pattern of
really made transfers, every table of them but those of events (outbox, events, deliveries, tallies begin empty), spread
over a month and over 500 players, and `bridge verify` holds on them. The job that verifies every invariant runs once,
before anything is measured; its time is the last column. The provider answers at once."""

REST = """\
That verification takes longer than the five minutes after which it is due again by default: on tables of this size set
`engine.verify_every_seconds` higher, or it never rests."""
