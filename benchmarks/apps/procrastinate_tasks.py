"""Procrastinate: the job is the durable intent, its end the durable outcome. `procrastinate --app
benchmarks.apps.procrastinate_tasks.jobs worker` does the work; procrastinate_door.py takes the requests.

After a crash its documentation has a periodic task retry what is stalled: here too, as often as cron allows.
"""

from __future__ import annotations

import os
from typing import Any

import aiohttp
from procrastinate import App, PsycopgConnector

PROVIDER = os.environ["BENCH_PROVIDER"]
STALLED_SECONDS = 30  # the default of its worker

jobs = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_DATABASE"], min_size=16, max_size=16))
_session: list[aiohttp.ClientSession] = []


def _wire() -> aiohttp.ClientSession:
    """One session a worker, made inside of its loop."""
    if not _session:
        connector = aiohttp.TCPConnector(limit=int(os.environ["BENCH_THREADS"]))
        _session.append(aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)))
    return _session[0]


@jobs.task(name="transfer")
async def transfer(content: dict[str, str]) -> str:
    """One transfer; what it returns is not kept."""
    async with _wire().post(PROVIDER, json={"type": "transfer.create", "data": content}) as answer:
        told: dict[str, Any] = await answer.json()
    if told["status"] != "confirmed":
        raise ValueError(told)
    return "confirmed"


@jobs.periodic(cron="*/10 * * * * *")
@jobs.task(queueing_lock="retry_stalled", pass_context=True)
async def retry_stalled(_context: object, _timestamp: int) -> None:
    """Jobs of workers whose heart has stopped are done again."""
    for job in await jobs.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
        await jobs.job_manager.retry_job(job)
