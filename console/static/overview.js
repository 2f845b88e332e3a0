// The overview is made again, in place, when something of it has changed; figures move without that.
let jobs, waiting;

document.addEventListener("dabt:live", ({ detail: { figures } }) => {
  const region = document.getElementById("overview");
  const stamp = figures["overview.stamp"];
  if (region === null || stamp === undefined) return;
  jobs ??= figures["overview.jobs"];
  if (stamp === region.dataset.stamp && jobs === figures["overview.jobs"]) return;
  jobs = figures["overview.jobs"];
  region.dataset.stamp = stamp;
  // Not all pages at the same moment, and not for every one of many changes.
  waiting ??= setTimeout(() => {
    waiting = undefined;
    document.getElementById("overview")?.dispatchEvent(new CustomEvent("again"));
  }, 300 + Math.random() * 700);
});
