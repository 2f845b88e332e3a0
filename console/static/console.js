// Of every page: moments in the reader's own zone, and forms that send themselves when a choice is made.
const CHOSEN = "dabt.chosen";
const page = document.documentElement;
const locale = page.lang + (page.dataset.digits === "arab" ? "-u-nu-arab" : "-u-nu-latn");
const zoned = (timeStyle) => new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle });
const zones = { minute: zoned("short"), second: zoned("medium") };

function inZone(root) {
  for (const time of root.querySelectorAll("time[data-zone]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.valueOf())) continue;
    time.title = time.textContent;
    time.textContent = zones[time.dataset.zone].format(moment);
    time.removeAttribute("data-zone");
  }
}

inZone(document);
document.addEventListener("htmx:after:swap", () => inZone(document));

// With keys one passes by other choices on the way to one's own: then Enter sends it, and not each of them. The page that
// comes is read on from the same place.
let byKey = null;
function send(field) {
  try { sessionStorage.setItem(CHOSEN, field.name); } catch { /* then one begins at the top */ }
  field.form.requestSubmit();
}
document.addEventListener("pointerdown", () => { byKey = null; });
document.addEventListener("keydown", (event) => {
  if (!event.target.matches?.("select[data-submits]")) return;
  if (event.key !== "Enter") byKey = event.target;
  else if (byKey === event.target) {
    event.preventDefault();
    send(event.target);
  }
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submits]") && event.target !== byKey) send(event.target);
});
try {
  const chosen = sessionStorage.getItem(CHOSEN);
  sessionStorage.removeItem(CHOSEN);
  if (chosen) document.querySelector(`[data-submits][name="${CSS.escape(chosen)}"]`)?.focus();
} catch { /* no place to remember it */ }
