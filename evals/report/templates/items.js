// The items: unpacked in the background, then searched, filtered, sorted and shown page by page. Every text goes in as
// text: nothing of an item or an answer is ever read as markup.

const PAGE = 50;
const [ANCHOR, KEY, NAME, QUESTION, TARGET, CLUSTER, SLICES, DIFFER, ARMS] = Array(9).keys();
const [ANSWER, SCORES, UNSCORED, ERROR, CUT, PASSAGES, SAID] = Array(7).keys();
const section = document.getElementById("items");
const browser = document.getElementById("browser");
const form = browser.querySelector("form");
const table = document.getElementById("table-of-items");
const panel = document.getElementById("item");
const state = { rows: [], found: [], page: 0, open: null };

const isolate = (text) => `\u2068${text}\u2069`;
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const rules = new Intl.PluralRules(document.documentElement.lang);
const counted = (n) => words.items[rules.select(n)].replace("{n}", isolate(n));

function make(tag, text, set = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(set)) element.setAttribute(name, value);
  return element;
}

async function unpack() {
  const packed = atob(document.getElementById("packed-items").textContent.trim());
  const bytes = new Uint8Array(packed.length);
  for (let at = 0; at < packed.length; at += 1) bytes[at] = packed.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const text = await new Response(stream).text();
  return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

// As the house compares texts: no case, no marks, one form of each Arabic letter, Latin digits.
const ALIKE = words.letters;
function plain(text) {
  return text.normalize("NFKC").replace(/[\p{Cf}\u0640\p{Mn}]/gu, "")
    .replace(/\p{Nd}/gu, (digit) => ALIKE[digit] ?? digit)
    .replace(/[\u0600-\u06ff]/g, (letter) => ALIKE[letter] ?? letter).toLowerCase();
}

const told = (answer) => (Array.isArray(answer) ? answer.map((pair) => pair.join(" ")).join("\n") : answer);
function matches(row, wanted) {
  row.text ??= plain([row[KEY], row[NAME], row[QUESTION], told(row[TARGET]),
    ...row[ARMS].filter(Boolean).flatMap((arm) => [told(arm[ANSWER]), arm[ERROR]])].join("\n"));
  return wanted.every((word) => row.text.includes(word));
}

const score = (arm) => arm?.[SCORES][0] ?? null;
const OUTCOMES = {
  right: (arm) => score(arm) !== null && score(arm) >= 1,
  wrong: (arm) => score(arm) !== null && score(arm) < 1,
  without: (arm) => words.figures[0] in arm[UNSCORED],
  failed: (arm) => arm[ERROR] !== "",
  cut: (arm) => arm[CUT] === 1,
};

function filter() {
  const wanted = plain(form.words.value).split(/\s+/).filter(Boolean);
  const [field, value] = form.slice.value ? JSON.parse(form.slice.value) : [];
  const { arm, outcome } = Object.fromEntries(["arm", "outcome"].map((name) => [name, form[name].value]));
  const fits = OUTCOMES[outcome];
  state.found = state.rows.filter((row) => {
    const arms = (arm === "" ? row[ARMS] : [row[ARMS][arm]]).filter(Boolean);
    return (!form.disagree.checked || row[DIFFER]) && (field === undefined || row[SLICES][field] === value)
      && (!fits || arms.some(fits)) && (!wanted.length || matches(row, wanted));
  });
  state.page = 0;
  show();
}

function marks(arm) {
  if (!arm) return "–";
  const number = score(arm) === null ? (words.figures[0] in arm[UNSCORED] ? "∅" : "–") : score(arm).toFixed(2);
  return number + (arm[ERROR] ? " !" : "") + (arm[CUT] ? " ✂" : "");
}

function line(row) {
  const line = make("tr");
  const name = make("td");
  const link = make("a", undefined, { href: `#item=${encodeURIComponent(row[KEY])}` });
  link.append(make("bdi", row[NAME]));
  name.append(link);
  const differ = make("td", row[DIFFER] ? "≠" : "");
  if (row[DIFFER]) differ.append(make("span", words.differ, { class: "unseen" }));
  line.append(name, differ);
  for (const arm of row[ARMS]) {
    const cell = make("td", undefined, { class: "number" });
    cell.append(make("bdi", marks(arm), { dir: "ltr" }));
    line.append(cell);
  }
  line.append(make("td", row[QUESTION].slice(0, 120), { class: "beginning", dir: "auto" }));
  return line;
}

function show() {
  const pages = Math.max(1, Math.ceil(state.found.length / PAGE));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  const from = state.page * PAGE;
  table.tBodies[0].replaceChildren(...state.found.slice(from, from + PAGE).map(line));
  browser.querySelector("[role=status]").textContent = counted(state.found.length);
  browser.querySelector("[data-at]").textContent = fill(words.page, { page: isolate(state.page + 1), pages: isolate(pages) });
  for (const button of browser.querySelectorAll("[data-page]")) {
    const to = state.page + Number(button.dataset.page);
    button.disabled = to < 0 || to >= pages;
  }
}

function spoken(answer) {
  const parts = [];
  for (const [key, value] of Array.isArray(answer) ? answer : [["", answer]]) {
    if (key) parts.push(make("div", key, { class: "key", dir: "auto" }));
    parts.push(make("div", value, { class: "text", dir: "auto" }));
  }
  return parts;
}

function answered(arm, name) {
  const box = make("div", undefined, { class: "answer" });
  const head = make("header");
  head.append(make("bdi", name), make("bdi", marks(arm), { dir: "ltr" }));
  box.append(head);
  if (!arm) return box;
  if (arm[ERROR]) box.append(make("p", words.error, { class: "down" }), ...spoken(arm[ERROR]));
  box.append(...spoken(arm[ANSWER]));
  const more = arm[SCORES].map((value, at) => [words.figures[at], value]).filter(([, value]) => value !== null);
  const figures = make("p", undefined, { class: "soft" });
  more.forEach(([figure, value], at) => {
    figures.append(at ? " · " : "", make("bdi", figure), " ", make("bdi", value.toFixed(2), { dir: "ltr" }));
  });
  box.append(figures);
  for (const [figure, why] of Object.entries(arm[UNSCORED])) {
    const reason = make("p", undefined, { class: "soft" });
    reason.append("∅ ", make("bdi", figure), ": ", make("bdi", why));
    box.append(reason);
  }
  for (const [label, text] of [[words.passages, arm[PASSAGES].join("\n")], [words.explanation, arm[SAID]]]) {
    if (text) box.append(make("div", label, { class: "key" }), make("div", text, { class: "text soft", dir: "auto" }));
  }
  return box;
}

function button(label, act, set = {}) {
  const made = make("button", label, { type: "button", ...set });
  made.addEventListener("click", act);
  return made;
}

function open(row) {
  state.open = row;
  const head = make("p", undefined, { class: "soft pager" });
  head.append(make("bdi", row[NAME]));
  for (const [field, value] of Object.entries(row[SLICES])) head.append(" · ", make("bdi", `${field} ${value}`));
  if (row[CLUSTER]) head.append(" · ", fill(words.cluster, { cluster: isolate(row[CLUSTER]) }));
  if (row[DIFFER]) head.append(" · ≠ ", words.differ);
  const bar = make("p", undefined, { class: "pager" });
  bar.append(button(words.previous, () => step(-1)), " ", button(words.next, () => step(1)), " ",
    make("a", words.link, { href: `#item=${encodeURIComponent(row[KEY])}` }), " ", button(words.close, close));
  const grid = make("div", undefined, { class: "grid" });
  const target = make("div", undefined, { class: "answer target" });
  const heading = make("header");
  heading.append(make("span", words.target));
  target.append(heading, ...spoken(row[TARGET]));
  grid.append(target, ...row[ARMS].map((arm, at) => answered(arm, words.arms[at])));
  panel.replaceChildren(head, make("div", row[QUESTION], { class: "question", dir: "auto" }), grid, bar);
  panel.setAttribute("aria-label", row[NAME]);
  panel.hidden = false;
  panel.focus({ preventScroll: true });
  panel.scrollIntoView({ block: "nearest" });
}

function close() {
  panel.hidden = true;
  state.open = null;
  history.replaceState(null, "", "#items");
  section.focus({ preventScroll: true });
}

function step(by) {
  const at = state.found.indexOf(state.open);
  const next = state.found[state.open && at >= 0 ? at + by : by > 0 ? 0 : state.found.length - 1];
  if (!next) return;
  state.page = Math.floor(state.found.indexOf(next) / PAGE);
  history.replaceState(null, "", `#item=${encodeURIComponent(next[KEY])}`);
  show();
  open(next);
}

function follow() {
  // `#item=KEY` and `#item-…`, the anchor that commands print, name an item.
  const place = location.hash.slice(1);
  if (!place.startsWith("item=") && !/^item-[0-9a-f]{12}$/.test(place)) return;
  let key = place.slice(5);
  try { key = decodeURIComponent(key); } catch { /* it was written by hand, with a bare % in it */ }
  const row = state.rows.find((each) => each[KEY] === key || each[ANCHOR] === place);
  if (row) open(row);
  else {
    panel.replaceChildren(make("p", fill(words.missing, { key: isolate(key) })));
    panel.hidden = false;
  }
}

function choices() {
  const values = new Map();
  for (const row of state.rows) {
    for (const [field, value] of Object.entries(row[SLICES])) values.set(JSON.stringify([field, value]), `${field} ${value}`);
  }
  for (const [value, label] of [...values].sort((a, b) => a[1].localeCompare(b[1])).slice(0, 500)) {
    form.slice.append(make("option", isolate(label), { value }));
  }
  words.arms.forEach((arm, at) => form.arm.append(make("option", isolate(arm), { value: at })));
  const head = make("tr");
  head.append(make("th", words.item), make("th", "≠", { "aria-label": words.differ }));
  for (const arm of words.arms) {
    const cell = make("th", undefined, { class: "number" });
    cell.append(make("bdi", arm));
    head.append(cell);
  }
  head.append(make("th", words.question));
  table.tHead.append(head);
  const last = words.arms.length + 2;
  const by = (row, column) => (column === 0 ? row[NAME] : column === 1 ? row[DIFFER] : column === last ? row[QUESTION]
    : score(row[ARMS][column - 2]) ?? "");
  sortable(table, words.sort, (column, descending) => {
    for (const list of [state.rows, state.found]) {
      list.sort((a, b) => ordered(String(by(a, column)), String(by(b, column))) * (descending ? -1 : 1));
    }
    state.page = 0;
    show();
  });
}

section.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.code === "Escape" && state.open) return close();
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const act = { KeyJ: () => step(1), ArrowDown: () => step(1), KeyK: () => step(-1), ArrowUp: () => step(-1),
    Slash: () => form.words.focus() }[event.code];
  if (!act) return;
  event.preventDefault();
  act();
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", filter);
let waiting = 0;
form.words.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(filter, 150);
});
for (const turn of browser.querySelectorAll("[data-page]")) {
  turn.addEventListener("click", () => {
    state.page += Number(turn.dataset.page);
    show();
  });
}
addEventListener("hashchange", follow);

const waits = make("p", words.loading, { class: "soft", role: "status" });
section.insertBefore(waits, browser);
unpack().then((rows) => {
  state.rows = rows;
  choices();
  filter();
  document.getElementById("first-items").remove();
  waits.remove();
  browser.hidden = false;
  section.dataset.ready = "";
  performance.mark("items");
  follow();
}, () => { waits.textContent = words.cannot; });
