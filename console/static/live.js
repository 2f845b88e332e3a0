// Live figures on a page: what `console/live.py` sends, over one connection for all tabs of a browser (HTTP/1.1 has six).
//
// An element with data-live="topic.rest" gets the figure of that key as its text, written as data-format says (number,
// percent, span in seconds, moment in ISO 8601) with data-places digits behind the point; a <progress> gets it as its
// value. Who draws listens on `document` for "dabt:live": detail is {figures, changed}, all figures and the keys that
// are new in this event; and names its topics in data-topics="a b" of an element. A tab leads, the others hear of it;
// browsers that cannot choose a leader open a connection a tab, while it is seen.
const page = document.documentElement;
const told = document.getElementById("live");
const ADDRESS = "/ui/events";
const LONGEST_PAUSE = 30_000;

const locale = page.lang + (page.dataset.digits === "arab" ? "-u-nu-arab" : "-u-nu-latn");
const writers = {
  number: (places) => new Intl.NumberFormat(locale, { minimumFractionDigits: places, maximumFractionDigits: places }),
  percent: (places) =>
    new Intl.NumberFormat(locale, { style: "percent", minimumFractionDigits: places, maximumFractionDigits: places }),
  moment: () => new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }),
};
const made = new Map();

function written(value, format, places) {
  if (value === null || value === undefined) return "—";
  if (typeof value === "string" && format !== "moment") return value;
  if (format === "span") return spanOf(value);
  if (!(format in writers)) return String(value);
  const key = `${format} ${places}`;
  if (!made.has(key)) made.set(key, writers[format](places));
  return made.get(key).format(format === "moment" ? new Date(value) : value);
}

function spanOf(seconds) {
  const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(
    ([, size]) => seconds >= size * 1.5 || size === 1);
  return new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 })
    .format(seconds / size);
}

let figures = {};

function put(changed = []) {
  const gone = new Set(changed);
  for (const element of document.querySelectorAll("[data-live]")) {
    const key = element.dataset.live;
    if (!(key in figures) && !gone.has(key)) continue;
    if (element instanceof HTMLProgressElement) {
      element.value = figures[key] ?? 0;
      continue;
    }
    const text = written(figures[key], element.dataset.format, Number(element.dataset.places ?? 0));
    if (element.textContent !== text) element.textContent = text;
  }
}

function tell(changed) {
  put(changed);
  document.dispatchEvent(new CustomEvent("dabt:live", { detail: { figures, changed } }));
}

function take(message) {
  if (message.kind === "state") {
    const keys = new Set([...Object.keys(figures), ...Object.keys(message.figures)]);
    figures = message.figures;
    mark("live");
    tell([...keys]);
  } else if (message.kind === "change") {
    for (const [key, value] of Object.entries(message.figures)) {
      if (value === null) delete figures[key]; else figures[key] = value;
    }
    mark("live");
    tell(Object.keys(message.figures));
  } else if (message.kind === "mark") mark(message.state);
}

// What the reader sees of it: nothing while all is well.
function mark(state) {
  page.dataset.connection = state;
  if (told === null) return;
  const text = { lost: told.dataset.lost, ended: told.dataset.ended }[state] ?? "";
  if (told.textContent !== text) told.textContent = text;
  told.hidden = text === "";
}

function topicsHere() {
  const topics = new Set();
  for (const element of document.querySelectorAll("[data-live]")) topics.add(element.dataset.live.split(".")[0]);
  for (const element of document.querySelectorAll("[data-topics]"))
    for (const topic of element.dataset.topics.split(" ")) if (topic) topics.add(topic);
  return topics;
}

// The connection itself. `hear` is told of what comes; a broken one is made anew, with growing pauses.
class Stream {
  constructor(topics, hear) {
    this.topics = new Set(topics);
    this.hear = hear;
    this.last = "";
    this.pause = 1000;
    this.open();
  }

  want(topics) {
    const more = [...topics].filter((topic) => !this.topics.has(topic));
    if (more.length === 0) return false;
    for (const topic of more) this.topics.add(topic);
    this.last = "";
    this.close();
    this.open();
    return true;
  }

  open() {
    const query = new URLSearchParams({ topics: [...this.topics].sort().join(",") });
    if (this.last) query.set("after", this.last);
    const source = this.source = new EventSource(`${ADDRESS}?${query}`);
    for (const kind of ["state", "change"]) {
      source.addEventListener(kind, (event) => {
        this.last = event.lastEventId;
        this.pause = 1000;
        this.hear({ kind, figures: JSON.parse(event.data) });
      });
    }
    source.addEventListener("open", () => { if (this.last) this.hear({ kind: "mark", state: "live" }); });
    source.addEventListener("end", () => {
      this.close();
      this.hear({ kind: "mark", state: "ended" });
    });
    source.addEventListener("error", () => {
      this.hear({ kind: "mark", state: "lost" });
      if (source.readyState !== EventSource.CLOSED) return; // the browser itself tries again
      this.timer = setTimeout(() => this.open(), this.pause * (0.75 + Math.random() / 2));
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
    });
  }

  close() {
    clearTimeout(this.timer);
    this.source.close();
  }
}

// One tab leads for those who are signed in as the same person.
function together(who) {
  const channel = new BroadcastChannel(who);
  let stream = null, release = () => {};
  const now = () => page.dataset.connection === "live" ? { kind: "state", figures }
    : { kind: "mark", state: page.dataset.connection ?? "" };
  const share = (message) => {
    take(message);
    channel.postMessage(message);
    if (message.state !== "ended") return;
    stream = null; // another tab may have signed in since
    release();
  };
  channel.addEventListener("message", ({ data }) => {
    if (data.kind === "want") {
      if (stream !== null && !stream.want(data.topics)) channel.postMessage(now());
    } else if (data.kind === "who") ask();
    else if (stream === null) take(data);
  });
  const ask = () => channel.postMessage({ kind: "want", topics: [...topicsHere()] });

  function lead() {
    stream = new Stream(topicsHere(), share);
    channel.postMessage({ kind: "who" });
    return new Promise((resolve) => { release = resolve; });
  }
  const leave = new AbortController();
  const join = () => navigator.locks.request(who, { signal: leave.signal }, lead).catch(() => {});
  join();
  ask();
  return {
    look() { if (stream !== null) stream.want(topicsHere()); else ask(); },
    stop() {
      leave.abort();
      stream?.close();
      release();
      channel.close();
    },
  };
}

// Without a leader, a tab listens while it is seen.
function alone() {
  let stream = null;
  const turn = () => {
    stream?.close();
    stream = document.hidden ? null : new Stream(topicsHere(), take);
  };
  document.addEventListener("visibilitychange", turn);
  turn();
  return {
    look() { stream?.want(topicsHere()); },
    stop() {
      document.removeEventListener("visibilitychange", turn);
      stream?.close();
    },
  };
}

let connection = null;

function begin() {
  if (topicsHere().size === 0) return;
  if (connection !== null) connection.look();
  else connection = navigator.locks && window.BroadcastChannel ? together(`dabt-live ${page.dataset.viewer}`) : alone();
}

begin();
document.addEventListener("htmx:after:swap", () => { put(); begin(); });
window.addEventListener("pagehide", () => { connection?.stop(); connection = null; });
window.addEventListener("pageshow", (event) => { if (event.persisted) begin(); });
