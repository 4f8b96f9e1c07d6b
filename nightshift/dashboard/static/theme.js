// Before the page is drawn: the viewer's choice of light or dark, else the system's.
(() => {
  const kept = localStorage.getItem("theme");
  if (kept) document.documentElement.dataset.theme = kept;
})();
