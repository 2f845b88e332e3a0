// Keys of the screens of items: by their place on the keyboard, so that they are the same in every language.
const fromTheRight = document.documentElement.dir === "rtl";
const KEYS = {
  KeyJ: "following", KeyK: "previous",
  ArrowRight: fromTheRight ? "previous" : "following", ArrowLeft: fromTheRight ? "following" : "previous",
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("input, select, textarea, summary, [tabindex='0']")) return;
  if (event.code === "Slash" && document.getElementById("q")) {
    event.preventDefault();
    document.getElementById("q").focus();
    return;
  }
  const link = event.shiftKey ? null : document.querySelector(`[data-key="${KEYS[event.code]}"]`);
  if (link) {
    event.preventDefault();
    link.click();
  }
});
