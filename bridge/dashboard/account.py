"""A person's own account, and proving in the middle of a sitting that it is still they who sit there."""

from __future__ import annotations

from flask import Blueprint, jsonify, redirect, render_template, request

from bridge.dashboard import origin
from bridge.dashboard.entrance import EVERYBODY, PROOF, Page, Visit, allowed, local
from bridge.dashboard.gate import seated, sent_json
from bridge.desk import own, passkeys, proving, sittings
from bridge.errors import Invalid

room = Blueprint("account", __name__, url_prefix="/ops")


@room.get("/account")
@allowed(*EVERYBODY)
def show(visit: Visit) -> Page:
    """Who one is here, what proves it, and where one sits."""
    return _page(visit)


@room.get("/prove")
@allowed(*EVERYBODY)
def prove(_visit: Visit) -> Page:
    """The page that asks for a code, and goes back to where it was wanted."""
    return _asked(local(request.args.get("next")))


@room.post("/prove")
@allowed(*EVERYBODY)
def proved(visit: Visit) -> Page:
    """A code has come, or a passkey was shown just before."""
    wanted = local(request.form.get("next"))
    if not request.form.get(PROOF) and sittings.is_proved(visit.runtime, visit.sitting):
        return redirect(wanted, 303)
    try:
        proving.by_code(visit.runtime, visit.sitting, request.form.get(PROOF, ""))
    except Invalid as refusal:
        return _asked(wanted, refusal.fields["code"]), 422
    return redirect(wanted, 303)


@room.post("/prove/passkey/challenge")
@allowed(*EVERYBODY)
def ask_passkey(visit: Visit) -> Page:
    """What one of one's passkeys is to sign."""
    place = origin.place(visit.runtime)
    return jsonify(passkeys.ask_to_show(visit.runtime, place, passkeys.PROVE, visit.person.id))


@room.post("/prove/passkey")
@allowed(*EVERYBODY)
def proved_by_passkey(visit: Visit) -> Page:
    """One's passkey has signed."""
    place = origin.place(visit.runtime)
    proving.by_passkey(visit.runtime, visit.sitting, place, sent_json().get("credential"))
    return jsonify({})


@room.post("/account/password")
@allowed(*EVERYBODY, proved=True)
def change_password(visit: Visit) -> Page:
    """Another password; every other sitting ends."""
    form = request.form
    try:
        if form.get("password", "") != form.get("again", ""):
            raise Invalid(fields={"again": "is not the same"})
        old, new = form.get("old", ""), form.get("password", "")
        token = own.change_password(visit.runtime, visit.sitting, old=old, new=new)
    except Invalid as refusal:
        return _page(visit, refusal.fields), 422
    return seated(token, redirect("/ops/account", 303))


@room.post("/account/recovery-codes")
@allowed(*EVERYBODY, proved=True)
def renew_recovery_codes(visit: Visit) -> Page:
    """Ten new ones."""
    codes = own.renew_recovery_codes(visit.runtime, visit.sitting)
    return render_template("desk/recovery.html", codes=codes, joined=False)


@room.post("/account/passkeys/challenge")
@allowed(*EVERYBODY, proved=True)
def ask_new_passkey(visit: Visit) -> Page:
    """What a new passkey is to be made with."""
    return jsonify(passkeys.ask_to_enrol(visit.runtime, visit.sitting, origin.place(visit.runtime)))


@room.post("/account/passkeys")
@allowed(*EVERYBODY, proved=True)
def enrol_passkey(visit: Visit) -> Page:
    """A new passkey was made."""
    told = sent_json()
    place, label = origin.place(visit.runtime), str(told.get("label") or "")
    passkeys.enrol(visit.runtime, visit.sitting, place, told.get("credential"), label)
    return jsonify({"next": "/ops/account"})


@room.post("/account/passkeys/<passkey_id>/remove")
@allowed(*EVERYBODY, proved=True)
def remove_passkey(visit: Visit, passkey_id: str) -> Page:
    """One passkey less."""
    passkeys.remove(visit.runtime, visit.sitting, passkey_id)
    return redirect("/ops/account", 303)


@room.post("/account/sittings/end-others")
@allowed(*EVERYBODY)
def end_other_sittings(visit: Visit) -> Page:
    """Stay here alone."""
    sittings.end_others(visit.runtime, visit.sitting)
    return redirect("/ops/account", 303)


def _page(visit: Visit, wrong: dict[str, str] | None = None) -> str:
    runtime, person = visit.runtime, visit.person
    return render_template(
        "desk/account.html",
        person=person,
        passkeys=passkeys.listed(runtime, person.id),
        sittings=sittings.listed(runtime, person.id),
        here=visit.sitting.digest,
        recovery_left=own.recovery_left(runtime, person.id),
        is_proved=sittings.is_proved(runtime, visit.sitting),
        wrong=wrong or {},
    )


def _asked(wanted: str, wrong: str = "") -> str:
    carried = [("next", wanted)]
    return render_template("desk/prove.html", action="/ops/prove", carried=carried, wrong=wrong, field=PROOF)
