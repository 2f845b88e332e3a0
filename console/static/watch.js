// Of the screen Watch: lines by uPlot. The stream of events says when there is more: then the new points are fetched, and
// the cards and tables of the page are made again, while it is seen.
const plots = document.getElementById("plots");
const told = document.getElementById("plots-told");
const page = document.documentElement;
const mirrored = page.dir === "rtl";
const digits = page.lang + (page.dataset.digits === "arab" ? "-u-nu-arab" : "-u-nu-latn");
const number = new Intl.NumberFormat(digits, { maximumSignificantDigits: 3 });
const clock = (more) => new Intl.DateTimeFormat(digits, { hour: "2-digit", minute: "2-digit", ...more });
const minutes = clock(), seconds = clock({ second: "2-digit" });
const shown = (clock, at) => clock.format(new Date(at * 1000));
const drawn = [];
let columns = null, parts;

function colours() {
  const style = getComputedStyle(page);
  const of = (name) => style.getPropertyValue(name).trim();
  return { ink: of("--soft"), grid: of("--line"), lines: [of("--mark"), of("--focus"), of("--up"), of("--down")] };
}

function make(place, columns) {
  const series = place.dataset.series.split("|").map((said) => said.split("="));
  const look = colours();
  const values = (plot, ticks) => ticks.map((value) => number.format(value));
  const axis = { stroke: look.ink, grid: { stroke: look.grid, width: 1 }, ticks: { stroke: look.grid, width: 1 } };
  const options = {
    width: Math.max(place.clientWidth, 240), height: 170, ms: 1e-3, cursor: { y: false },
    // Where the page reads from the right, so does time.
    scales: { x: { time: true, dir: mirrored ? -1 : 1 }, y: { range: (plot, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
    axes: [
      { ...axis, values: (plot, ticks, place, space, step) => ticks.map((at) => shown(step < 60 ? seconds : minutes, at)), space: 90 },
      { ...axis, values, size: 56, side: mirrored ? 1 : 3 },
    ],
    series: [
      { value: (plot, at) => (at == null ? "—" : shown(seconds, at)), label: plots.dataset.time },
      ...series.map(([, name], place_) => ({
        label: name, stroke: look.lines[place_ % 4], width: 2, spanGaps: false, dash: place_ % 2 ? [6, 3] : undefined,
        points: { size: 4 }, value: (plot, value) => (value == null ? "—" : number.format(value)),
      })),
    ],
  };
  place.replaceChildren();
  return { place, keys: series.map(([key]) => key), plot: new uPlot(options, data(series.map(([key]) => key), columns), place) };
}

function data(keys, columns) {
  return [columns.at, ...keys.map((key) => columns[key])];
}

// The columns with what came after their end. Past an hour the last point is of a stretch that still grows: all anew.
async function fetched() {
  const asked = new URLSearchParams({ window: plots.dataset.window, version: plots.dataset.version });
  const goesOn = columns !== null && columns.at.length > 0 && ["15m", "1h"].includes(plots.dataset.window);
  if (goesOn) asked.set("after", columns.newest);
  const answer = await fetch(`/ui/watch/series?${asked}`, { headers: { accept: "application/json" } });
  if (!answer.ok || answer.redirected) throw new Error(`${answer.status}`);
  const come = await answer.json();
  if (!goesOn) return come;
  const begun = come.newest - (plots.dataset.window === "1h" ? 3600 : 900);
  const old = columns.at.findIndex((at) => at > begun), from = old < 0 ? columns.at.length : old;
  return Object.fromEntries(Object.entries(come).map(
    ([name, values]) => [name, Array.isArray(values) ? [...columns[name].slice(from), ...values] : values]));
}

// One at a time: two that append the same points would draw them twice.
let drawing = null;
const draw = () => (drawing ??= drawOnce().finally(() => { drawing = null; }));

async function drawOnce() {
  try {
    columns = await fetched();
    told.textContent = "";
  } catch {
    told.textContent = plots.dataset.failed;
    return;
  }
  if (drawn.length === 0) {
    for (const place of plots.querySelectorAll(".plot")) drawn.push(make(place, columns));
  } else {
    for (const { plot, keys } of drawn) plot.setData(data(keys, columns));
  }
  plots.dataset.newest = columns.newest;
}

new ResizeObserver(() => requestAnimationFrame(() => {
  for (const { place, plot } of drawn) {
    const width = Math.max(place.clientWidth, 240);
    if (width !== plot.width) plot.setSize({ width, height: 170 });
  }
})).observe(plots);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  columns = null;
  drawn.splice(0).forEach(({ plot }) => plot.destroy());
  draw();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) draw(); });
document.addEventListener("dabt:live", ({ detail: { figures } }) => {
  if (document.hidden || figures["watch.newest"] === undefined) return;
  const again = (id) => document.getElementById(id)?.dispatchEvent(new CustomEvent("again"));
  if (parts !== figures["watch.parts"] && parts !== undefined) again("state");
  parts = figures["watch.parts"];
  if (columns !== null && figures["watch.newest"] > columns.newest) draw().then(() => again("tables"));
});
draw();
