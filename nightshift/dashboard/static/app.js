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

/** Let the keyboard reach what is wider than the screen. */
function reachWide(root) {
  for (const part of root.querySelectorAll(".scroll")) if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
}

document.addEventListener("DOMContentLoaded", () => {
  showMoments(document);
  reachWide(document);
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
    document.dispatchEvent(new Event("themechange"));
  });
});
document.addEventListener("htmx:afterSettle", () => {
  showMoments(document);
  reachWide(document);
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
