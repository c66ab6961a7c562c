"""The floor and the peers, each as small as its own documentation would have it; they run in .venv-bench.

Settings come by the environment: BENCH_DATABASE (a URL), BENCH_PROVIDER (whom to ask), BENCH_THREADS.
"""
