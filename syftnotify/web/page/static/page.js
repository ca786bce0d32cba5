// Keyboard control of lists, and live notifications. The page works without it.
"use strict";

const items = () => [...document.querySelectorAll("[data-item]")];
const current = () => document.querySelector("[data-item].current");

function select(step) {
  const all = items();
  if (!all.length) return;
  const place = all.indexOf(current());
  const next = all[Math.min(all.length - 1, Math.max(0, place < 0 ? 0 : place + step))];
  for (const each of all) each.classList.toggle("current", each === next);
  const link = next.querySelector("[data-open]") || next;
  if (link === next) next.tabIndex = -1;
  link.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  const isInField = event.target.closest("input, textarea, select, [contenteditable]");
  if (isInField || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "j") select(1);
  else if (event.key === "k") select(-1);
  else if (event.key === "e") current()?.querySelector("[data-mark]")?.click();
  else return;
  event.preventDefault();
});

// The inbox: the server sends each new notification as HTML. A connection that breaks is opened again by the browser,
// which names the last notification that it has.
const RETRY_MS = 5000;
let stream = null;

function showUnread(count) {
  const badge = document.getElementById("unread");
  if (!badge) return;
  badge.textContent = count > 999 ? "999+" : String(count);
  badge.hidden = !count;
}

function addNotification(event) {
  const sent = JSON.parse(event.data);
  showUnread(sent.unread);
  const list = document.getElementById("items");
  if (!list || document.getElementById("n-" + sent.id)) return;
  document.getElementById("none")?.remove();
  list.insertAdjacentHTML("afterbegin", sent.html);
  const count = document.getElementById("mark-count");
  if (count) {  // the button marks what is on the page
    const input = Object.assign(document.createElement("input"), { type: "hidden", name: "id", value: sent.id });
    document.getElementById("mark-all").append(input);
    count.textContent = String(Number(count.textContent) + 1);
  }
}

function connect() {
  const inbox = document.querySelector("[data-live]");
  if (!inbox) {
    stream?.close();
    stream = null;
  } else if (!stream || stream.readyState === EventSource.CLOSED) {
    stream = new EventSource(inbox.dataset.live);
    stream.addEventListener("message", addNotification);
    stream.addEventListener("error", () => {
      if (stream?.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);  // an error of a proxy, for example
    });
  }
}

connect();
window.addEventListener("pagehide", () => stream?.close());
window.addEventListener("pageshow", connect);

// A preview is that of the rule as it was: after a change there must be a new one.
document.addEventListener("input", (event) => {
  const form = event.target.closest("#add");
  form?.querySelector("#preview")?.remove();
  form?.querySelector("[value=add]")?.remove();
});

// An answer without the part that is to be replaced: the session has ended, or the server has an error.
document.addEventListener("htmx:before:response", (event) => {
  const { response } = event.detail.ctx;
  if (response.status === 401 || response.raw.url.includes("/ui/sign-in")) {
    event.preventDefault();
    location.reload();
  } else if (response.status >= 429) {
    event.preventDefault();  // the next attempt may succeed
  }
});

// After a part was replaced, the item that was selected has lost its mark: the one in its place gets it.
let place = -1;
document.addEventListener("htmx:before:swap", () => { place = items().indexOf(current()); });
document.addEventListener("htmx:after:swap", () => {
  connect();
  const all = items();
  if (place >= 0 && all.length && !current()) {
    const next = all[Math.min(place, all.length - 1)];
    next.classList.add("current");
    next.querySelector("[data-open]")?.focus({ preventScroll: true });
  }
  place = -1;
});

// Another device may have marked notifications as read.
document.addEventListener("visibilitychange", () => {
  const inbox = document.querySelector("[data-live]");
  if (inbox && document.visibilityState === "visible") {
    htmx.ajax("GET", location.href, { target: "#inbox", select: "#inbox", swap: "outerHTML", selectOOB: "#unread" });
  }
});
