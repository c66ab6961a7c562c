"""Side by side with peers in one run: `python -m benchmarks` (or `make bench`) measures and writes docs/benchmarks.md.

wire/         the provider's side and the clients' side, each a process of its own
apps/         the floor and the peers, as programs; they run in .venv-bench
contestants/  how each is started, killed, and asked what became of a transfer
parts/        what is measured; each part's raw figures are one JSON file, and a part that has its file is done
"""
