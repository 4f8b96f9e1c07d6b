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
// What went wrong stands in #said until it is read.
document.addEventListener("click", (event) => {
  if (event.target.matches("#said .dismiss")) document.getElementById("said").replaceChildren();
});
document.addEventListener("htmx:sendError", () => {
  const said = document.createElement("strong");
  said.textContent = "The dashboard does not answer. `nightshift up` starts it.";
  document.getElementById("said").replaceChildren(said);
});
