// The training page: "all" and single families follow each other; Start starts once.
"use strict";

document.addEventListener("change", (event) => {
  const types = event.target.closest("fieldset.types");
  if (!types) return;
  const all = types.querySelector('[name="all"]'), single = [...types.querySelectorAll('[name="families"]')];
  if (event.target === all) single.forEach((box) => (box.checked = all.checked));
  else all.checked = single.every((box) => box.checked);
});

document.addEventListener("submit", (event) => {
  const start = event.target.querySelector("#start");
  if (!start) return;
  if (start.getAttribute("aria-disabled") === "true") return event.preventDefault();
  start.setAttribute("aria-disabled", "true"); // a disabled button would lose the focus
  start.textContent = "Starting …";
  setTimeout(() => {
    // Still here: the load was stopped, or takes long. The form's key starts nothing twice.
    start.removeAttribute("aria-disabled");
    start.textContent = "Start";
  }, 10_000);
});

// Back to the page from where it led: it can be started again.
addEventListener("pageshow", (event) => event.persisted && location.reload());
