// Passkeys: ask what to sign, have it signed, send it back. A button with data-passkey says which of the three it is:
// "enter" and "prove" show one, "enrol" makes one. Without WebAuthn the buttons stay hidden.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const known = (list) => (list || []).map((each) => ({ ...each, id: bytes(each.id) }));

async function send(form, address, body) {
  const answer = await fetch(address, {
    method: "POST", credentials: "same-origin", redirect: "error",
    headers: { "Content-Type": "application/json", "X-Form-Token": form.dataset.formToken },
    body: JSON.stringify(body),
  });
  if (answer.status === 429) throw new Error("Too many tries: wait a little.");
  if (!answer.ok) throw new Error("It was not taken. Try again, or use password and code.");
  return answer.json();
}

async function sign(kind, options) {
  const challenge = bytes(options.challenge);
  if (kind === "enrol") {
    const user = { ...options.user, id: bytes(options.user.id) };
    return navigator.credentials.create({
      publicKey: { ...options, challenge, user, excludeCredentials: known(options.excludeCredentials) },
    });
  }
  return navigator.credentials.get({
    publicKey: { ...options, challenge, allowCredentials: known(options.allowCredentials) },
  });
}

function told(made) {
  const response = { clientDataJSON: text(made.response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (made.response[name]) response[name] = text(made.response[name]);
  }
  return { id: made.id, rawId: text(made.rawId), type: made.type, response };
}

async function ceremony(button) {
  const form = button.closest("form"), trouble = form.querySelector("[data-passkey-trouble]");
  const value = (name) => (form.elements[name] ? form.elements[name].value : "");
  trouble.hidden = true;
  button.disabled = true;
  try {
    const made = await sign(button.dataset.passkey, await send(form, button.dataset.begin, {}));
    const body = { credential: told(made), label: value("label"), password: value("password"), next: value("next") };
    const answer = await send(form, button.dataset.end, body);
    if (button.dataset.passkey === "prove") form.submit();
    else window.location.assign(answer.next);
  } catch (wrong) {
    trouble.textContent = wrong.name === "NotAllowedError" ? "No passkey was shown." : wrong.message;
    trouble.hidden = false;
  }
  button.disabled = false;
}

if (window.PublicKeyCredential) {
  for (const button of document.querySelectorAll("[data-passkey]")) {
    button.hidden = false;
    button.addEventListener("click", () => ceremony(button));
  }
}
