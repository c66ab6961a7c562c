"""A passkey in a real browser: made, used to come in; by Chromium's own virtual authenticator."""

from __future__ import annotations

from tests.browser.conftest import House, Windows


def test_a_passkey_is_made_and_lets_in(house: House, window: Windows) -> None:
    """It is made on the account page, and then lets its person in without one."""
    someone = window("petra", "viewer")
    devices = someone.context.new_cdp_session(someone.page)
    devices.send("WebAuthn.enable")
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }})  # fmt: skip
    page = someone.open("/account")
    form = page.locator("form", has=page.locator('[data-passkey="enrol"]'))
    form.locator('input[name="label"]').fill("this laptop")
    form.locator('[data-passkey="enrol"]').click()
    page.get_by_text("this laptop").first.wait_for()
    page.get_by_text("petra").first.click()
    page.get_by_role("button", name="Leave").first.click()
    page.get_by_role("heading", name="Come in").wait_for()
    page.get_by_role("button", name="With a passkey").click()
    page.get_by_role("link", name="Orphans").first.wait_for()
    assert "/gate" not in page.url
