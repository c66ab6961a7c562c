"""Ticks: when a job runs next, whatever somebody sets the clock to.

APScheduler plans each run as an instant of the wall clock. A clock that is set forward passes many at once, one that is
set back moves the next one away, by as much as it was ahead: for so long nothing would run, and nothing would say so.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler tells no types
    """A tick each so many seconds, in step with the first; those that have passed by now are one."""

    def __init__(self, seconds: float) -> None:
        self.interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The first tick behind `now`."""
        if previous_fire_time is None:
            return now
        missed = max(now - previous_fire_time, timedelta()) // self.interval
        return previous_fire_time + (missed + 1) * self.interval


def bring_near(scheduler: BaseScheduler, now: datetime) -> list[str]:
    """Plan anew, in step, what would not run for longer than from one of its ticks to the next; the names of these."""
    far = [job for job in scheduler.get_jobs() if job.next_run_time - now > job.trigger.interval]
    for job in far:
        missed = (job.next_run_time - now) // job.trigger.interval
        scheduler.modify_job(job.id, next_run_time=job.next_run_time - missed * job.trigger.interval)
    return [job.id for job in far]
