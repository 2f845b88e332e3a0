// Of the screen Watch: lines by uPlot, from the page's own figures, drawn on while the page is open and seen.
const plots = document.getElementById("plots");
const told = document.getElementById("plots-told");
const page = document.documentElement;
const mirrored = page.dir === "rtl";
const digits = page.lang + (page.dataset.digits === "arab" ? "-u-nu-arab" : "-u-nu-latn");
const number = new Intl.NumberFormat(digits, { maximumSignificantDigits: 3 });
const hour = new Intl.DateTimeFormat(digits, { hour: "2-digit", minute: "2-digit" });
const EVERY = 10_000;
const drawn = [];

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
      { ...axis, values: (plot, ticks) => ticks.map((at) => hour.format(new Date(at * 1000))), space: 70 },
      { ...axis, values, size: 56, side: mirrored ? 1 : 3 },
    ],
    series: [
      { value: (plot, at) => (at == null ? "—" : hour.format(new Date(at * 1000))), label: "" },
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

async function fetched() {
  const asked = new URLSearchParams({ window: plots.dataset.window, version: plots.dataset.version });
  const answer = await fetch(`/ui/watch/series?${asked}`, { headers: { accept: "application/json" } });
  if (!answer.ok || answer.redirected) throw new Error(`${answer.status}`);
  return answer.json();
}

async function draw() {
  let columns;
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
  drawn.splice(0).forEach(({ plot }) => plot.destroy());
  draw();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) draw(); });
setInterval(() => { if (!document.hidden) draw(); }, EVERY);
draw();
