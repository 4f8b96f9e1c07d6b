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

/** Let the keyboard reach what is wider than its place. */
function reachScrolls(root) {
  for (const box of root.querySelectorAll(".scroll")) {
    if (box.scrollWidth <= box.clientWidth) continue;
    box.tabIndex = 0;
    box.role = "group";
    box.ariaLabel = box.querySelector("caption")?.textContent || "Table";
  }
}

document.addEventListener("DOMContentLoaded", () => {
  showMoments(document);
  reachScrolls(document);
  addEventListener("resize", () => reachScrolls(document));
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
    document.dispatchEvent(new Event("themechange"));
  });
});
document.addEventListener("htmx:afterSwap", (event) => {
  showMoments(event.target);
  reachScrolls(event.target);
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
