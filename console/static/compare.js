// One conversation to several versions: asks them at once, shows each answer as it comes, and keeps the conversation in
// this tab. The address has what was asked: versions and settings before the #, texts behind it, so that no log has them.
import { readEvents, shownText } from "./compare_stream.js";
import { Pane } from "./compare_pane.js";

const page = document.documentElement, form = document.querySelector("#compare"), ask = document.querySelector("#ask");
const [turnsPlace, system, question, problem] = ["#turns", "#system", "#question", "#problem"].map((it) => document.querySelector(it));
const [send, stop, again, differ, anew] = ["#send", "#stop", "#again", "#differences", "#anew"].map((it) => document.querySelector(it));
const told = document.querySelector("#told"), KEPT = "dabt.compare", words = form.dataset;
const locale = page.lang + (page.dataset.digits === "arab" ? "-u-nu-arab" : "-u-nu-latn");
let turns = [], pending = [], session = crypto.randomUUID?.() ?? String(Math.random()), asking = null;

const models = () => [...form.querySelectorAll("[name=m]")].map((it) => it.value.trim()).filter(Boolean);
const setting = (name) => form.elements[name].value.trim();

// -- what is kept, and where ------------------------------------------------------------------------------------------
function address() {
  const query = new URLSearchParams(models().map((it) => ["m", it])), texts = new URLSearchParams();
  for (const name of ["temperature", "max_tokens", "seed"]) if (setting(name)) query.set(name, setting(name));
  if (system.value) texts.set("s", system.value);
  for (const text of [...turns.map((it) => it.question), question.value, ...pending]) if (text) texts.append("q", text);
  const here = `${location.pathname}${query.size ? `?${query}` : ""}`;
  if (here + (texts.size ? `#${texts}` : "") !== location.pathname + location.search + location.hash) {
    history.replaceState(null, "", here + (texts.size ? `#${texts}` : ""));
  }
  for (const field of document.querySelectorAll("input[name=here]")) field.value = here;
}

function keep() {
  address();
  const answers = turns.map((turn) => ({ question: turn.question, panes: turn.panes.map((pane) => pane.kept()) }));
  const all = { viewer: words.viewer, models: models(), system: system.value, draft: question.value, pending, turns: answers, session };
  try { sessionStorage.setItem(KEPT, JSON.stringify(all)); } catch { /* more than the browser keeps */ }
}

let later = 0;
const keepSoon = () => { clearTimeout(later); later = setTimeout(keep, 400); };

async function restore() {
  const texts = new URLSearchParams(location.hash.slice(1)), asked = texts.getAll("q");
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem(KEPT)); } catch { /* nothing that can be read */ }
  const same = kept && kept.viewer === words.viewer && JSON.stringify(kept.models) === JSON.stringify(models());
  const before = same ? [...kept.turns.map((it) => it.question), kept.draft, ...kept.pending].filter(Boolean) : [];
  if (same && (!location.hash || (JSON.stringify(before) === JSON.stringify(asked) && kept.system === (texts.get("s") ?? "")))) {
    ({ session, pending } = kept);
    system.value = kept.system;
    question.value = kept.draft;
    for (const turn of kept.turns) show(turn.question, turn.panes.map((it) => it.asked)).panes.forEach((pane, at) => pane.restore(turn.panes[at]));
    await formatted(turns.flatMap((turn) => turn.panes));
  } else {
    system.value = texts.get("s") ?? "";
    [question.value, ...pending] = asked.length ? asked : [""];
  }
  document.querySelector("#settings").open = Boolean(system.value || ["temperature", "max_tokens", "seed"].some(setting));
  ready();
}

// Answers whose Markdown the stream did not bring: of a refreshed page, and those that were stopped.
async function formatted(panes) {
  const lacking = panes.filter((pane) => pane.text && !pane.formatted);
  if (!lacking.length) return;
  const answer = await post("markdown", { texts: lacking.map((pane) => pane.text) }).catch(() => null);
  if (answer?.ok) (await answer.json()).forEach((html, at) => lacking[at].format(html));
}

const post = (what, body, signal) => fetch(`/ui/compare/${what}`, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal,
});

// -- asking -----------------------------------------------------------------------------------------------------------
function show(asked, names) {
  const section = document.querySelector("#turn").content.cloneNode(true).firstElementChild;
  section.querySelector(".asked").textContent = shownText(asked);
  const turn = { question: asked, section, panes: names.map((name) => new Pane(name, locale, words)) };
  section.querySelector(".panes").append(...turn.panes.map((pane) => pane.element));
  section.querySelector(".rate")?.addEventListener("submit", (event) => { event.preventDefault(); rate(turn, event.target); });
  turnsPlace.append(section);
  turns.push(turn);
  return turn;
}

function history_of(at, name) {
  const messages = system.value.trim() ? [{ role: "system", content: system.value.toWellFormed() }] : [];
  for (const turn of turns) {
    const pane = turn.panes[at];
    if (pane?.asked !== name || !pane.text || pane.failed) continue; // what it did not answer is no part of its conversation
    messages.push({ role: "user", content: turn.question.toWellFormed() }, { role: "assistant", content: pane.text.toWellFormed() });
  }
  return messages;
}

async function askAll(text) {
  const names = models();
  problem.textContent = "";
  if (asking || !names.length || !text.trim()) {
    if (!asking) problem.textContent = words.few;
    return;
  }
  const panes = names.map((name, at) => ({ model: name, messages: [...history_of(at, name), { role: "user", content: text.toWellFormed() }] }));
  const sampling = Object.fromEntries(["temperature", "max_tokens", "seed"].filter(setting).map((it) => [it, Number(setting(it))]));
  const turn = show(text, names);
  asking = new AbortController();
  question.value = pending.shift() ?? "";
  ready();
  keep();
  told.textContent = words.busy;
  try {
    const answer = await post("answers", { panes, sampling, session }, asking.signal);
    if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.error?.message ?? answer.statusText);
    await readEvents(answer.body, (event) => turn.panes[event.pane]?.take(event));
    for (const pane of turn.panes) pane.fail(words.lost);
  } catch (error) {
    for (const pane of turn.panes) error.name === "AbortError" ? pane.stop() : pane.fail(error instanceof TypeError ? words.lost : error.message);
  }
  asking = null;
  await formatted(turn.panes);
  told.textContent = words.ended;
  ready();
  keep();
}

function ready() {
  ask.hidden = false;
  send.disabled = Boolean(asking);
  stop.disabled = !asking;
  for (const field of form.querySelectorAll("[name=m]")) field.disabled = Boolean(asking);
  again.disabled = differ.disabled = Boolean(asking) || !turns.length;
  for (const turn of turns) offerRating(turn);
  if (differ.getAttribute("aria-pressed") === "true") compareWords(true);
}

function clear() {
  turns = [];
  turnsPlace.replaceChildren();
  session = crypto.randomUUID?.() ?? String(Math.random());
}

// -- beside the answers -----------------------------------------------------------------------------------------------
function compareWords(on) {
  differ.setAttribute("aria-pressed", String(on));
  for (const turn of turns) turn.panes.forEach((pane, at) => pane.differ(on && at && !asking ? turn.panes[0].text : null));
}

function offerRating(turn) {
  const rating = turn.section.querySelector(".rate");
  if (!rating) return;
  const whole = turn.panes.filter((pane) => pane.done && pane.text && pane.version);
  rating.hidden = new Set(whole.map((pane) => pane.version)).size < 2;
  for (const [at, select] of rating.querySelectorAll("select").entries()) {
    if (select.options.length === whole.length) continue;
    select.replaceChildren(...whole.map((pane) => new Option(pane.version, turn.panes.indexOf(pane))));
    select.selectedIndex = Math.min(at, whole.length - 1);
  }
}

async function rate(turn, rating) {
  const before = turns.slice(0, turns.indexOf(turn) + 1).map((it) => ({ role: "user", content: it.question.toWellFormed() }));
  const messages = [...(system.value.trim() ? [{ role: "system", content: system.value.toWellFormed() }] : []), ...before];
  const answers = [rating.elements.first, rating.elements.second].map((it) => turn.panes[it.value])
    .map((pane) => ({ version: pane.version, digest: pane.digest, text: pane.text.toWellFormed() }));
  const says = rating.querySelector("[data-told]"), answer = await post("pairs", { messages, answers }).catch(() => null);
  const made = await answer?.json().catch(() => null);
  says.classList.toggle("down", !answer?.ok);
  if (!answer?.ok) { says.textContent = made?.error?.message ?? words.lost; return; }
  const link = Object.assign(document.createElement("a"), { href: `/ui/rate/${made.campaign}`, textContent: made.campaign, dir: "ltr" });
  const [lead, rest] = words.queued.split("%(name)s");
  says.replaceChildren(lead, link, rest);
}

// -- the form ---------------------------------------------------------------------------------------------------------
function spare() {
  const fields = [...form.querySelectorAll("[name=m]")];
  if (fields.some((it) => !it.value.trim()) || fields.length >= Number(words.most)) return;
  const label = fields.at(-1).parentElement.cloneNode(true);
  label.querySelector("span").textContent = words.version.replace("%(n)s", new Intl.NumberFormat(locale).format(fields.length + 1));
  label.querySelector("input").value = "";
  fields.at(-1).parentElement.after(label);
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", (event) => {
  if (event.target.name === "m") {
    pending = [...turns.map((it) => it.question), question.value, ...pending].filter(Boolean);
    question.value = pending.shift() ?? "";
    clear();
    spare();
    ready();
  }
  keep();
});
let looked = 0;
form.addEventListener("input", (event) => {
  keepSoon();
  if (event.target.name !== "m") return;
  const now = ++looked;
  fetch(`/ui/compare/names?q=${encodeURIComponent(event.target.value)}`).then((it) => it.json()).then((names) => {
    if (now === looked) document.querySelector("#names").replaceChildren(...names.map((name) => new Option(name, name)));
  }).catch(() => {});
});
ask.addEventListener("submit", (event) => { event.preventDefault(); askAll(question.value); });
question.addEventListener("input", keepSoon);
stop.addEventListener("click", () => asking?.abort());
again.addEventListener("click", () => {
  const turn = turns.pop();
  form.elements.seed.value = setting("seed") ? Number(setting("seed")) + 1 : Math.floor(Math.random() * 2 ** 31);
  turn.section.remove();
  const draft = question.value;
  askAll(turn.question);
  if (draft) { pending.unshift(...[question.value].filter(Boolean)); question.value = draft; keep(); }
});
differ.addEventListener("click", () => compareWords(differ.getAttribute("aria-pressed") !== "true"));
anew.addEventListener("click", () => { asking?.abort(); clear(); pending = []; question.value = ""; ready(); keep(); question.focus(); });
document.addEventListener("keydown", (event) => {
  if (event.code === "Escape" && asking) asking.abort();
  if (event.code === "Enter" && (event.ctrlKey || event.metaKey) && event.target === question) { event.preventDefault(); askAll(question.value); }
});
addEventListener("pagehide", () => { keep(); asking?.abort(); });
restore();
