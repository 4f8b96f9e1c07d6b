// Runs: the live log, what is told when a state changes, and the question before a run is stopped.
"use strict";

const MOST_LINES = 5000;
// A log that is refused is asked for again so often, after ever longer.
const MOST_REFUSED = 6, AGAIN_MS = 3000;
const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});

/** Follow a run's log: text only; it goes along with the newest line until the reader scrolls up. */
function follow(log) {
  const said = document.getElementById("log-said"), newest = document.getElementById("log-newest");
  const waiting = [];
  let along = true, drawn = 0, before = 0;
  const toEnd = () => (log.scrollTop = log.scrollHeight);
  const write = () => {
    drawn = 0;
    for (const {at, level, text} of waiting.splice(0).slice(-MOST_LINES)) {
      const line = document.createElement("span"), moment = new Date(at);
      line.className = `line ${level.toLowerCase()}`;
      line.textContent = `${clock.format(moment)}  ${level === "INFO" ? "" : `${level} `}${text}\n`;
      line.dataset.at = moment.getTime();
      // Some lines come seconds after later ones: runs send theirs to Prefect in packets.
      let later = null, last = log.lastElementChild;
      while (last && Number(last.dataset.at) > moment.getTime()) [later, last] = [last, last.previousElementSibling];
      log.insertBefore(line, later);
    }
    while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
    if (along) toEnd();
  };
  log.addEventListener("scroll", () => {
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 24;
    // New lines below do not mean that the reader went up.
    along = atEnd || (along && log.scrollTop >= before);
    before = log.scrollTop;
    newest.hidden = along;
  });
  newest.addEventListener("click", () => {
    toEnd();
    log.focus();
  });
  let refused = 0;
  const listen = () => {
    const source = new EventSource(log.dataset.source);
    // Another source begins at the first line again.
    const begin = () => {
      waiting.length = 0;
      log.replaceChildren();
    };
    source.addEventListener("open", begin, {once: true});
    source.addEventListener("open", () => {
      refused = 0;
      said.textContent = "Live";
    });
    source.addEventListener("log", (event) => {
      waiting.push(JSON.parse(event.data));
      drawn ||= setTimeout(write, 50);
    });
    source.addEventListener("end", () => {
      source.close();
      said.textContent = log.childElementCount || waiting.length ? "The run has ended." : "The run has ended; it said nothing.";
    });
    source.addEventListener("error", () => {
      // A browser comes back by itself after a lost connection, and not after an answer such as 503.
      const over = source.readyState === EventSource.CLOSED && ++refused > MOST_REFUSED;
      if (source.readyState === EventSource.CLOSED && !over) setTimeout(listen, refused * AGAIN_MS);
      said.textContent = over ? "The log cannot be had: load the page again." : "The connection is lost; trying again …";
    });
  };
  listen();
}

/** Tell people, and screen readers, that a run's state is another. */
function announce(text) {
  const said = document.getElementById("said");
  said.textContent = text;
  setTimeout(() => said.textContent === text && said.replaceChildren(), 8000);
}

let stateBefore = "";

document.addEventListener("DOMContentLoaded", () => {
  const log = document.getElementById("log");
  if (log) follow(log);
  stateBefore = document.getElementById("now")?.dataset.state ?? "";
});

document.addEventListener("htmx:afterSwap", () => {
  const now = document.getElementById("now");
  if (!now || now.dataset.state === stateBefore) return;
  stateBefore = now.dataset.state;
  announce(`${now.dataset.name}: ${stateBefore}`);
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
