// Of every page: moments in the reader's own zone, and forms that send themselves when a choice is made.
const page = document.documentElement;
const zone = new Intl.DateTimeFormat(page.lang + (page.dataset.digits === "arab" ? "-u-nu-arab" : "-u-nu-latn"), {
  dateStyle: "medium", timeStyle: "short",
});

function inZone(root) {
  for (const time of root.querySelectorAll("time[data-zone]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.valueOf())) continue;
    time.title = time.textContent;
    time.textContent = zone.format(moment);
    time.removeAttribute("data-zone");
  }
}

inZone(document);
document.addEventListener("htmx:after:swap", () => inZone(document));
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
});
