// One version's answer to one question: text is added to one text node, once a frame; Markdown comes whole at the end.
import { differences } from "./differences.js";
import { shownText } from "./compare_stream.js";

export class Pane {
  constructor(asked, locale, words) {
    Object.assign(this, { asked, words, version: "", digest: "", text: "", thought: "", done: false, failed: "", formatted: false, facts: null });
    this.format_number = (value, places = 0) => new Intl.NumberFormat(locale, { minimumFractionDigits: places, maximumFractionDigits: places }).format(value);
    this.element = document.querySelector("#pane").content.cloneNode(true).firstElementChild;
    this.at("asked").textContent = asked;
    this.node = this.at("text").appendChild(document.createTextNode(""));
    this.waiting = "";
    this.frame = 0;
  }

  at(name) { return this.element.querySelector(`[data-${name}]`); }
  kept() { return { asked: this.asked, version: this.version, digest: this.digest, text: this.text, thought: this.thought, done: this.done, failed: this.failed, facts: this.facts }; }

  take(event) {
    if (event.kind === "answerer") this.whose(event.version, event.digest);
    else if (event.kind === "piece") this.add(event.text);
    else if (event.kind === "thought") this.think(event.text);
    else if (event.kind === "failed") this.fail(event.message);
    else if (event.kind === "done") { const { html, pane, kind, ...facts } = event; this.end(facts); this.format(html); }
  }

  whose(version, digest) {
    Object.assign(this, { version, digest });
    this.element.querySelector("[data-whose]").hidden = false;
    this.at("version").textContent = version;
    const [name, number] = version.split(":");
    if (number) this.at("version-page").href = `/ui/versions/${encodeURIComponent(name)}/${number}`;
    this.at("digest").textContent = digest ?? "";
  }

  add(text) {
    this.text += text;
    this.waiting += shownText(text);
    this.frame ||= requestAnimationFrame(() => this.flush());
  }

  flush() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (this.waiting) this.node.appendData(this.waiting);
    this.waiting = "";
  }

  think(text) {
    this.thought += text;
    this.element.querySelector(".thought").hidden = false;
    this.at("thought").textContent = shownText(this.thought);
  }

  end(facts) {
    this.done = true;
    this.facts = facts;
    this.quiet();
    const number = this.format_number, seconds = (value) => new Intl.NumberFormat(document.documentElement.lang + this.numerals(), { style: "unit", unit: "second", maximumFractionDigits: 3 }).format(value);
    const tell = (name, value) => { this.at(name).textContent = value; };
    this.at("facts").hidden = false;
    tell("first", facts.first_token == null ? "—" : seconds(facts.first_token));
    tell("speed", facts.per_second == null ? "—" : number(facts.per_second, 1));
    tell("tokens", facts.tokens == null ? "—" : `${number(facts.prompt_tokens)} + ${number(facts.tokens)}`);
    tell("reason", facts.reason ?? "—");
    const list = this.element.querySelector(".passages");
    list.hidden = !facts.passages.length;
    list.querySelector("[data-count]").textContent = number(facts.passages.length);
    list.querySelector("ol").replaceChildren(...facts.passages.map(passage));
  }

  numerals() { return document.documentElement.dataset.digits === "arab" ? "-u-nu-arab" : "-u-nu-latn"; }

  // The server has left nothing in it but its list of elements (console/markdown.py).
  format(html) {
    this.formatted = true;
    const made = new DOMParser().parseFromString(html, "text/html");
    this.element.querySelector(".answer").replaceChildren(...made.body.childNodes);
  }

  fail(message) {
    if (this.done || this.failed) return;
    this.failed = message;
    this.quiet();
    Object.assign(this.at("failed"), { hidden: false, textContent: message });
  }

  stop() {
    if (this.done || this.failed) return;
    this.quiet();
    this.at("facts").hidden = true;
    Object.assign(this.at("failed"), { hidden: false, textContent: this.words.stopped });
  }

  quiet() {
    this.flush();
    this.element.setAttribute("aria-busy", "false");
  }

  restore(kept) {
    this.add(kept.text);
    if (kept.thought) this.think(kept.thought);
    if (kept.version) this.whose(kept.version, kept.digest);
    if (kept.done) this.end(kept.facts);
    else if (kept.failed) this.fail(kept.failed);
    else this.stop();
  }

  // Beside the text of another pane; null shows the answer as it is.
  differ(before) {
    this.element.querySelector(".difference")?.remove();
    const answer = this.element.querySelector(".answer");
    answer.hidden = before !== null;
    if (before === null) return;
    const shown = Object.assign(document.createElement("div"), { className: "said difference", dir: "auto" });
    shown.append(...differences(before, this.text).map(([kind, text]) => {
      if (kind === "same") return shownText(text);
      return Object.assign(document.createElement(kind === "new" ? "ins" : "del"), { textContent: shownText(text) });
    }));
    answer.after(shown);
  }
}

function passage({ id, source, pieces }) {
  const item = document.createElement("li"), head = document.createElement("p"), text = document.createElement("div");
  for (const name of [id, source]) {
    head.append(Object.assign(document.createElement("bdi"), { dir: "ltr", className: "name", textContent: shownText(name) }), " ");
  }
  Object.assign(text, { className: "said", dir: "auto" });
  text.append(...pieces.map(([piece, shared]) => (shared ? Object.assign(document.createElement("mark"), { textContent: shownText(piece) }) : shownText(piece))));
  item.append(head, text);
  return item;
}
