// Keys for the buttons of a ballot, by their place on the keyboard; a person may turn them off.
const chosen = document.querySelector("#shortcuts"), KEPT = "dabt.rate.shortcuts";
chosen.checked = localStorage.getItem(KEPT) !== "off";
chosen.addEventListener("change", () => localStorage.setItem(KEPT, chosen.checked ? "on" : "off"));
let sent = false;
document.addEventListener("submit", (event) => { if (sent) event.preventDefault(); sent = true; });
addEventListener("pageshow", () => { sent = false; });
document.addEventListener("keydown", (event) => {
  if (!chosen.checked || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox]), textarea, select")) return;
  const button = document.querySelector(`button[data-code="${event.code.replace("Numpad", "Digit")}"]`);
  if (!button) return;
  event.preventDefault();
  button.click();
});
