// Sending rows in parts that go on after a break, and the curve of a job's losses.
const PART = 8 * 2 ** 20;

const form = document.querySelector("#send");
if (form) form.addEventListener("submit", (event) => { event.preventDefault(); send(form); });

async function asked(path, body, json = true) {
  const answer = await fetch(path, {
    method: "POST", body: json ? JSON.stringify(body) : body, headers: json ? { "content-type": "application/json" } : {},
  });
  const text = await answer.text();
  if (!answer.ok) {
    const page = new DOMParser().parseFromString(text, "text/html");
    throw new Refusal(page.querySelector("[role=alert] .said")?.textContent ?? String(answer.status));
  }
  return JSON.parse(text);
}

class Refusal extends Error {}

// An upload is known by its file's name, size and time; so a page that was closed goes on where it stopped.
const nameOf = (file) => `dabt:upload:${file.name}:${file.size}:${file.lastModified}`;

async function send(form) {
  const file = form.elements.file.files[0];
  const [told, progress, button] = [form.querySelector("#sent"), form.querySelector("#progress"), form.querySelector("button")];
  const share = new Intl.NumberFormat(document.documentElement.lang, { style: "percent" });
  button.disabled = true;
  progress.hidden = false;
  let known = JSON.parse(localStorage.getItem(nameOf(file)) ?? "null");
  told.textContent = form.dataset[known ? "resumed" : "sending"];
  try {
    if (!known) {
      const body = { filename: file.name, purpose: "fine-tune", bytes: file.size, mime_type: "" };
      known = { id: (await asked("/ui/train/uploads", body)).id, parts: [] };
    }
    for (let at = known.parts.length * PART; at < file.size; at += PART) {
      const part = new FormData();
      part.append("data", file.slice(at, at + PART), "part");
      known.parts.push((await asked(`/ui/train/uploads/${known.id}/parts`, part, false)).id);
      localStorage.setItem(nameOf(file), JSON.stringify(known));
      progress.value = Math.min(1, (at + PART) / file.size);
      told.textContent = `${form.dataset.sending} ${share.format(progress.value)}`;
    }
    const whole = await asked(`/ui/train/uploads/${known.id}/complete`, { part_ids: known.parts });
    localStorage.removeItem(nameOf(file));
    location.assign(`/ui/train/files/${whole.file.id}`);
  } catch (error) {
    if (error instanceof Refusal) localStorage.removeItem(nameOf(file)); // it has expired, say: the next try begins anew
    told.textContent = error instanceof Refusal ? error.message : form.dataset.failed;
    button.disabled = false;
    progress.hidden = true;
  }
}

const place = document.querySelector("#curve");
if (place) window.addEventListener("load", () => draw(place));

async function draw(place) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 } };
  const line = (label, name, more = {}) => ({ label, stroke: colour(name), width: 2, spanGaps: false, value, ...more });
  const { train, valid, base, step } = place.dataset;
  const page = document.documentElement, mirrored = page.dir === "rtl"; // as time on the screen Watch
  const digits = page.lang + (page.dataset.digits === "arab" ? "-u-nu-arab" : "-u-nu-latn");
  const number = new Intl.NumberFormat(digits, { maximumSignificantDigits: 4 });
  const values = (plot, ticks) => ticks.map((value) => number.format(value));
  const value = (plot, at) => (at == null ? "—" : number.format(at));
  place.replaceChildren(); // the picture of a page without scripts
  // Validation is rare: its points are joined over the steps without one, and a step that was measured as no number is a gap.
  const plot = new uPlot({
    width: place.clientWidth - 32, height: 280, scales: { x: { time: false, dir: mirrored ? -1 : 1 } },
    axes: [{ ...axis, values }, { ...axis, values, side: mirrored ? 1 : 3 }],
    series: [
      { label: step, value }, line(train, "--mark"), line(valid, "--up", { spanGaps: true, points: { show: true } }),
      line(base, "--down", { dash: [6, 4], spanGaps: true, points: { show: false } }),
    ],
  }, [[], [], [], []], place);
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth - 32, height: 280 })).observe(place);
  for (;;) {
    const answer = await fetch(place.dataset.from, { headers: { accept: "application/json" } }).catch(() => null);
    if (answer?.ok) {
      const told = await answer.json();
      plot.setData([told.steps, told.train_loss, told.valid_loss, told.steps.map(() => told.base_valid_loss)]);
      place.dataset.points = told.steps.length;
      const done = String(told.progress?.step ?? "");
      const moved = place.dataset.status !== told.status, more = place.dataset.events !== String(told.events);
      [place.dataset.status, place.dataset.events] = [told.status, told.events];
      const again = (id) => document.getElementById(id).dispatchEvent(new CustomEvent("again"));
      if (more) again("events");
      if (place.dataset.done !== done) again("steps");
      place.dataset.done = done;
      // Who is about to cancel is not disturbed, unless there is nothing to cancel any more.
      if (moved || (more && !document.querySelector("#state details[open]"))) again("state");
      if (["succeeded", "failed", "cancelled"].includes(told.status)) {
        if (!place.dataset.ended) location.reload();
        return;
      }
    }
    await new Promise((after) => setTimeout(after, 2000));
  }
}
