"""What surrounds every page of the desk: TLS, forms of ours alone, sealed answers, pages where something cannot be."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.desk.crew import Browser

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def rules(desk: Any) -> list[Any]:
    """Every route under /ops, as the application has it."""
    return [rule for rule in desk.app.url_map.iter_rules() if rule.rule.startswith("/ops")]


def path_of(rule: Any) -> str:
    """An address of a route, its parts made up."""
    return re.sub(r"<[^>]+>", "x", rule.rule)


def assert_sealed(answer: Any, *, kept: bool = False) -> None:
    """Each header, by its whole value."""
    told = {name: answer.headers.get(name) for name in ("Content-Security-Policy", "X-Frame-Options",
            "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy", "Cache-Control")}  # fmt: skip
    assert told == {
        "Content-Security-Policy": POLICY, "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "max-age=3600" if kept else "no-store",
    }  # fmt: skip
    assert "camera=()" in answer.headers["Permissions-Policy"]


def test_every_answer_is_sealed(desk, subtests):
    """Security §3.1 row 26: every route, by every method, for nobody and for an admin; and what is not there."""
    paths = {path_of(rule) for rule in rules(desk)} | {"/ops/nothing", "/ops/"}
    assert len(paths) > 6
    for path in sorted(paths):
        for who in (desk.nobody, desk.sitting("admin")):
            with subtests.test(path=path, who=who.cookie):
                for method in METHODS:
                    assert_sealed(who.client.open(path, method=method))
    for file in ("/ops/static/desk.js", "/ops/static/favicon.svg", "/ops/bootstrap/css/bootstrap.min.css"):
        answer = desk.nobody.get(file)
        assert answer.status_code == 200
        assert_sealed(answer, kept=True)


def test_other_answers_are_sealed_as_before(desk):
    """The API's own headers are what they were."""
    answer = desk.nobody.get("/healthz")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Permissions-Policy" not in answer.headers
    assert desk.nobody.get("/opsy").content_type == "application/problem+json"


def test_pages_draw_nothing_by_themselves(desk, subtests):
    """The policy lets no inline script and no style through, so no page may hold any; nor anything from elsewhere."""
    for who in ("admin", "viewer"):
        for rule in rules(desk):
            if "GET" not in rule.methods or rule.endpoint.endswith("static"):
                continue
            with subtests.test(path=rule.rule):
                text = desk.sitting(who).get(path_of(rule)).text
                assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", text)
                assert not re.search(r'(?:src|href|action)="(?!/ops|#|\?|otpauth:)', text), text


# --- TLS ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "peer", "sent", "seen"),
    [
        ("http://localhost:8080", "127.0.0.1", {}, True),
        ("http://localhost", "::1", {}, True),
        ("https://desk.example", "203.0.113.9", {}, True),
        ("http://desk.example", "203.0.113.9", {}, False),
        ("http://127.0.0.1:8080", "127.0.0.1", {}, False),
        ("http://localhost", "203.0.113.9", {}, False),  # whatever a caller names in Host
        ("http://localhost.example", "127.0.0.1", {}, False),
        ("http://localhost", "127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}, False),  # a proxy nobody told us of
        ("http://localhost", "127.0.0.1", {"Via": "1.1 somewhere"}, False),
        ("http://desk.example", "203.0.113.9", {"X-Forwarded-Proto": "https"}, False),  # written by the caller
    ],
)
def test_plain_http_is_for_this_machine_alone(desk, base, peer, sent, seen):
    """Issue 5 §3: /ops works at http://localhost; any other plain address gets a page that says TLS is needed."""
    for path in ("/ops/gate", "/ops", "/ops/nothing", "/ops/static/desk.js"):
        for method in METHODS:
            answer = desk.nobody.client.open(
                path, method=method, base_url=base, headers=sent, environ_overrides={"REMOTE_ADDR": peer}
            )
            told = "TLS is needed" in answer.text
            assert told is (not seen and method != "HEAD"), (path, method)
            assert seen or (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)
            assert_sealed(answer, kept=path.endswith("desk.js") and seen and method in ("GET", "HEAD"))


@pytest.mark.parametrize(
    ("hops", "schemes", "seen"),
    [
        (1, "https", True), (1, "http", False), (1, "https, http", False), (1, "http, https", True),
        (2, "https, http", True), (2, "https", False), (2, "http, https", False), (1, "", False), (1, "HTTPS", True),
    ],
)  # fmt: skip
def test_a_proxy_is_counted_from_the_right(build_desk, hops, schemes, seen):
    """Security §3.1 row 12: what a caller writes before our proxies' own entries says nothing."""
    desk = build_desk(web={"proxy_hops": hops})
    sent = {"X-Forwarded-Proto": schemes, "X-Forwarded-For": ", ".join(["203.0.113.9"] * hops)}
    answer = desk.nobody.client.get("/ops/gate", base_url="http://desk.example", headers=sent)
    assert (answer.status_code == 200) is seen
    assert ("Strict-Transport-Security" in answer.headers) is seen


def test_browsers_that_came_by_tls_come_by_it_again(desk):
    """HSTS where it is TLS, and nowhere else: http://localhost must go on working."""
    told = desk.nobody.client.get("/ops/gate", base_url="https://desk.example").headers
    assert told["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in desk.nobody.get("/ops/gate").headers


def test_without_a_secret_there_is_no_desk(build_desk):
    """A desk that was not set up says so, and what to set; nobody comes in."""
    desk = build_desk()
    object.__setattr__(desk.runtime.config.desk, "secret", None)
    for path in ("/ops", "/ops/gate", "/ops/account"):
        answer = desk.sitting("admin").get(path)
        assert answer.status_code == 503
        assert "set `desk.secret`" in answer.text or "set &#96;desk.secret&#96;" in answer.text
        assert_sealed(answer)


# --- forms --------------------------------------------------------------------------------------------


FROM_ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:81"},
    {"Origin": "https://localhost"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
]


@pytest.mark.parametrize("sent", FROM_ELSEWHERE)
def test_forms_from_elsewhere_are_refused(desk, sent):
    """ASVS 3.5.1: whatever else is right about them."""
    browser = desk.sitting("viewer")
    refused = browser.post("/ops/leave", headers=sent)
    assert refused.status_code == 400
    assert browser.get("/ops/account").status_code == 200
    assert desk.notes("leave") == []


@pytest.mark.parametrize("sent", [{}, {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
                                  {"Sec-Fetch-Site": "none"}])  # fmt: skip
def test_forms_of_ours_are_taken(desk, sent):
    """ASVS 3.5.1: a browser that says nothing, or says that it is our page, with the page's token."""
    browser = desk.sitting("viewer")
    assert browser.post("/ops/leave", headers=sent).status_code == 303
    assert browser.get("/ops/account").status_code == 303


def test_a_form_needs_the_token_of_its_own_sitting(desk):
    """ASVS 3.5.1: no token, a made up one, a guest's or somebody else's: refused, nothing is done."""
    browser = desk.sitting("viewer")
    others = desk.sitting("admin").token(), desk.sitting("viewer").token(), Browser(desk.app).token("/ops/gate")
    for token in ("", "0" * 64, "\u00e9", *others):
        assert browser.post("/ops/leave", token=token).status_code == 400
    assert browser.get("/ops/account").status_code == 200
    assert browser.client.post("/ops/leave", headers={"X-Form-Token": browser.token()}).status_code == 303


def test_cookies_go_nowhere_else(desk):
    """ASVS 3.3: __Host-, Secure, HttpOnly, SameSite=Strict, for the whole site, without a domain."""
    given = desk.nobody.get("/ops/gate").headers["Set-Cookie"]
    assert given.startswith("__Host-guest=")
    words = {word.strip() for word in given.split(";")[1:]}
    assert words == {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"}


# --- where something cannot be -----------------------------------------------------------------------


def test_trouble_is_a_page(desk):
    """404, 405, 413, 400 and 403 are pages in plain words, with a number, and nothing about the inside."""
    viewer = desk.sitting("viewer")
    big = {"form_token": viewer.token(), "text": "x" * 70_000}
    told = {
        404: viewer.get("/ops/nothing"),
        405: viewer.get("/ops/leave"),
        413: viewer.client.post("/ops/leave", data=big),
        400: viewer.post("/ops/leave", token="wrong"),
    }
    for status, answer in told.items():
        assert answer.status_code == status
        assert answer.content_type == "text/html; charset=utf-8"
        assert re.search(r"err_[0-9a-f]{32}", answer.text)
    assert "POST" in told[405].headers["Allow"]


def test_what_breaks_tells_nothing(desk, monkeypatch, capfd):
    """ASVS 16.5.1: the page has a number, the log has the number and the trace."""

    def breaks(*_given: Any, **_more: Any) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr("bridge.dashboard.account.render_template", breaks)
    answer = desk.sitting("viewer").get("/ops/account")
    assert answer.status_code == 500
    assert "inside" not in answer.text
    assert "Traceback" not in answer.text
    number = re.search(r"err_[0-9a-f]{32}", answer.text)
    assert number is not None
    assert number[0] in capfd.readouterr().err


def test_nobody_is_shown_the_gate(desk):
    """Whoever has no sitting comes in first, and then to where they wanted; a part of a page is told so by 401."""
    answer = desk.nobody.get("/ops/account?a=1&b=2")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/ops/gate?next=/ops/account?a%3D1%26b%3D2")
    assert desk.nobody.get("/ops/account", X_Part="1").status_code == 401


@pytest.mark.parametrize(
    "wanted", ["https://evil.example", "//evil.example", "/ops//evil.example", "/ops\\evil", "/opsevil", "/ops/../x",
               "/ops/\nx", "javascript:alert(1)", "", "/v1"],
)  # fmt: skip
def test_nobody_is_sent_elsewhere(desk, wanted):
    """ASVS 3.7.2: an address to go back to is one of the desk's own."""
    form = desk.nobody.client.get("/ops/gate", query_string={"next": wanted}).text
    assert "evil" not in form
    assert "javascript:" not in form


def test_a_route_without_rights_is_not_served(desk):
    """A page that nobody said whom it is for stops the start."""
    from bridge.dashboard.frame import _require_rights

    desk.app._got_first_request = False
    desk.app.add_url_rule("/ops/open", "open", lambda: "open")
    with pytest.raises(LookupError, match="/ops/open"):
        _require_rights(desk.app)
