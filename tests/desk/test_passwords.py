"""Passwords: what is taken, how they are kept, and how many are computed at once."""

from __future__ import annotations

import threading
import time

import pytest

from bridge.desk import passwords
from bridge.errors import Invalid, Unavailable
from bridge.runtime import Ids

GOOD = [
    "nine blue otters sing", "Grüße vom Wolfgangsee", "пятнадцать синих выдр", "x9$Kq!wv7Lmz",
    "十二个蓝色水獭在河边唱歌",
]  # fmt: skip
BAD = [
    "", "short", "elevenchars", "a" * 129, "aaaaaaaaaaaaaaa", "Password123456", "P@ssw0rd1234", "qwertyuiop123",
    "123456789012", "1234567890qwerty", "letmein letmein", "Admin2026!!!!", "abcabcabcabc", "correcthorsebatterystaple",
    "passwordpassword", "iloveyou12345", "casino casino 1", "QWERTZuiop2026",
]  # fmt: skip


class Chance:
    """What a runtime has that hashing needs."""

    ids = Ids()


@pytest.mark.parametrize("password", GOOD)
def test_a_good_password_is_taken(password):
    """ASVS 6.2: any script, any sign, spaces; 12 to 128 characters; no rule of composition."""
    told = passwords.require_good(password, "ann.smith", "Ann Smith")
    kept = passwords.hashed(Chance(), told)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    assert passwords.fits(password, kept)
    assert not passwords.fits(password + "x", kept)
    assert passwords.hashed(Chance(), told) != kept


@pytest.mark.parametrize("password", BAD)
def test_what_is_guessed_first_is_refused(password):
    """ASVS 6.2.4: too short, too long, a common one with digits behind it: refused, and why is said."""
    with pytest.raises(Invalid) as refused:
        passwords.require_good(password, "ann", "Ann")
    assert set(refused.value.fields) == {"password"}


@pytest.mark.parametrize("password", ["smithereens of blue", "all about ANN.SMITH here"])
def test_a_name_is_no_password(password):
    """Neither login nor name, in whatever case."""
    with pytest.raises(Invalid):
        passwords.require_good(password, "ann.smith", "Ann Smith")


def test_two_ways_to_write_one_password_are_one():
    """NFKC: a keyboard that composes and one that does not come in alike."""
    kept = passwords.hashed(Chance(), passwords.require_good("cafe\u0301 noir du matin"))
    assert passwords.fits("caf\u00e9 noir du matin", kept)


def test_a_broken_hash_fits_nothing():
    """What is kept and cannot be read lets nobody in, and breaks nothing."""
    assert passwords.fits("nine blue otters sing", "not a hash") is False
    assert passwords.fits("nobody", None) is False


def test_two_are_computed_at_once(monkeypatch):
    """Security row 25: at most two hashes side by side in a process; four wait, and the seventh is told so at once."""
    running, most, lock = [0], [0], threading.Lock()

    class Slow:
        def hash(self, _password: str, *, salt: bytes) -> str:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.2)
            with lock:
                running[0] -= 1
            return salt.hex()

    passwords._nobodys()
    monkeypatch.setattr(passwords, "_hasher", Slow())
    threads = [threading.Thread(target=passwords.hashed, args=(Chance(), "x")) for _ in range(6)]
    for thread in threads:
        thread.start()
    while passwords._line._value:
        time.sleep(0.001)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        passwords.hashed(Chance(), "x")
    assert time.monotonic() - began < 0.1
    for thread in threads:
        thread.join()
    assert most == [2]
    assert (passwords._turns._value, passwords._line._value) == (2, 6)


def test_who_waits_in_line_does_not_wait_long(monkeypatch):
    """Security row 25: whoever does not have their turn within two seconds is told so, and keeps no thread."""
    monkeypatch.setattr(passwords, "WAIT_SECONDS", 0.01)
    assert [passwords._turns.acquire(blocking=False) for _ in range(2)] == [True, True]
    try:
        with pytest.raises(Unavailable):
            passwords.fits("x", None)
    finally:
        passwords._turns.release(2)
    assert passwords._line._value == 6
