// Parts of a page that keep themselves up to date.
//
// An element with data-part="ADDRESS" and data-every="SECONDS" is asked for again that often, and what comes stands in
// its place. Nothing is asked while nobody looks. A part that cannot be had stays as it is, and the page says since when.
"use strict";

const MILLISECONDS = 1000;
const notice = () => document.getElementById("no-connection");
const clock = (date) => `${date.toISOString().slice(11, 16)} UTC`;
let lost = null;

// What a person has opened, and where they are, outlives the exchange of a part.
function remember(part) {
  const named = [...part.querySelectorAll("details[id]")].map((each) => [each.id, each.open]);
  const chosen = [...part.querySelectorAll("input[type=checkbox][id], select[id]")].map((each) => [each.id, each.checked, each.value]);
  const active = part.contains(document.activeElement) ? document.activeElement : null;
  const typed = active && "selectionStart" in active ? [active.selectionStart, active.selectionEnd] : null;
  return { named, chosen, focus: active && active.id, value: active && active.value, typed, left: part.scrollLeft };
}

function restore(part, kept) {
  for (const [id, open] of kept.named) {
    const again = document.getElementById(id);
    if (again && again.matches("details")) again.open = open;
  }
  for (const [id, checked, value] of kept.chosen) {
    const again = document.getElementById(id);
    if (again && again.matches("input[type=checkbox]")) again.checked = checked;
    else if (again && again.matches("select")) again.value = value;
  }
  part.scrollLeft = kept.left;
  const active = kept.focus && document.getElementById(kept.focus);
  if (!active || !part.contains(active)) return;
  if (kept.value !== undefined && active.matches("input, textarea")) active.value = kept.value;
  active.focus({ preventScroll: true });
  if (kept.typed && kept.typed[0] !== null) active.setSelectionRange(...kept.typed);
}

function connected(is) {
  if (is) lost = null;
  else lost = lost || new Date();
  notice().hidden = is;
  if (!is) notice().textContent = `No connection since ${clock(lost)}: what you see is from before.`;
  document.getElementById("content").classList.toggle("desk-old", !is);
}

async function refresh(part) {
  let answer;
  try {
    answer = await fetch(part.dataset.part, {
      headers: { "X-Part": "1" }, credentials: "same-origin", redirect: "error", cache: "no-store",
      signal: AbortSignal.timeout(15 * MILLISECONDS),
    });
    if (answer.ok) {
      const text = await answer.text();
      const kept = remember(part);
      part.innerHTML = text;
      restore(part, kept);
    }
  } catch {
    return connected(false);
  }
  if (answer.status === 401) return window.location.assign(`/ops/gate?next=${encodeURIComponent(here())}`);
  return connected(answer.ok);
}

const here = () => window.location.pathname + window.location.search;

function keep(part) {
  const every = Math.max(1, Number(part.dataset.every) || 5) * MILLISECONDS;
  let last = Date.now(), asking = false;
  const look = async () => {
    if (asking || document.hidden || !part.isConnected || Date.now() - last < every) return;
    asking = true;
    await refresh(part);
    last = Date.now();
    asking = false;
  };
  setInterval(look, MILLISECONDS);
  document.addEventListener("visibilitychange", look);
}

document.querySelectorAll("[data-part]").forEach(keep);

// A link from elsewhere comes without the cookie (SameSite=Strict), and is shown the gate although its reader sits here
// already: asked from this page, the desk knows them.
const gate = document.querySelector("[data-here]");
if (gate && gate.dataset.next) {
  fetch(gate.dataset.here, { headers: { "X-Part": "1" }, credentials: "same-origin", redirect: "error" })
    .then((answer) => answer.ok && window.location.replace(gate.dataset.next), () => false);
}
