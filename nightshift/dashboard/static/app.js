// What every page does: moments in the viewer's zone, light or dark.
"use strict";

const moments = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "short"});

/** Show every <time> below an element in the viewer's zone. */
function showMoments(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = time.dateTime;
    time.textContent = moments.format(at);
  }
}

/** What is wider than its place can be scrolled by keyboard, too. */
const places = new ResizeObserver((entries) => {
  for (const {target} of entries) {
    if (target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight) {
      target.tabIndex = 0;
      target.setAttribute("role", "group"); // named, and no landmark: a page has many
      target.setAttribute("aria-label", target.querySelector("caption")?.textContent || "Table");
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) target.removeAttribute(name);
    }
  }
});

// Fired for the whole page, and for each piece that comes later.
document.addEventListener("htmx:load", (event) => {
  showMoments(event.detail.elt);
  for (const place of event.detail.elt.querySelectorAll(".scroll")) places.observe(place);
});

document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
    document.dispatchEvent(new Event("themechange"));
  });
});

const isPoll = (element) => element.getAttribute("hx-trigger")?.startsWith("every") ?? false;

// Nobody looks: nothing is asked.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && isPoll(event.target)) event.preventDefault();
});

// What went wrong stands in #said until it is read, or until the same is answered well.
const SILENT = "The dashboard does not answer. `nightshift up` starts it.";
const faults = new Map(); // address -> what went wrong there last; "": of any

/** Whether a fault is to be said: not while it stands there, and what is asked again by itself says it once. */
function isNew(path, text, again) {
  const said = document.getElementById("said");
  const known = faults.get(path) === text && (again || said.textContent.includes(text));
  faults.set(path, text);
  return !known;
}

document.addEventListener("click", (event) => {
  if (event.target.matches("#said .dismiss")) document.getElementById("said").replaceChildren();
});
document.addEventListener("htmx:beforeSwap", ({target, detail}) => {
  if (!detail.isError || detail.target.id !== "said") return;
  const text = new DOMParser().parseFromString(detail.serverResponse, "text/html").body.textContent.trim();
  if (!isNew(detail.pathInfo.requestPath, text, isPoll(target))) detail.shouldSwap = false;
});
document.addEventListener("htmx:sendError", ({target}) => {
  if (!isNew("", SILENT, isPoll(target))) return;
  const alert = document.createElement("div"), what = document.createElement("strong");
  const dismiss = document.createElement("button");
  alert.setAttribute("role", "alert");
  what.textContent = SILENT;
  dismiss.className = "dismiss";
  dismiss.setAttribute("aria-label", "Dismiss");
  dismiss.textContent = "×";
  alert.append(what, " ", dismiss);
  document.getElementById("said").replaceChildren(alert);
});
document.addEventListener("htmx:afterRequest", ({detail}) => {
  if (!detail.successful) return;
  const said = document.getElementById("said");
  for (const path of ["", detail.pathInfo.requestPath]) {
    if (faults.has(path) && said.textContent.includes(faults.get(path))) said.replaceChildren();
    faults.delete(path);
  }
});
