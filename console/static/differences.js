// Words of one text beside those of another: what both have, what is new, what is gone (Myers 1986, "An O(ND)
// difference algorithm and its variations"). Words are those of the text's script, as the browser's segmenter sees them.
const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });
const MOST = 600; // differing words; texts that differ in more are shown as wholly other

export function words(text) {
  return Array.from(segmenter.segment(text), (it) => it.segment);
}

// [[kind, text], …] with kind "same", "new" (only in `after`) or "gone" (only in `before`).
export function differences(before, after) {
  const a = words(before), b = words(after), parts = [];
  let start = 0, end = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  add(parts, "same", a.slice(0, start));
  for (const [kind, word] of middle(a.slice(start, a.length - end), b.slice(start, b.length - end))) add(parts, kind, [word]);
  add(parts, "same", a.slice(a.length - end));
  return parts;
}

function add(parts, kind, more) {
  if (!more.length) return;
  const last = parts.at(-1);
  if (last && last[0] === kind) last[1] += more.join("");
  else parts.push([kind, more.join("")]);
}

function middle(a, b) {
  const path = shortest(a, b);
  if (!path) return [["gone", a.join("")], ["new", b.join("")]].filter(([, text]) => text);
  const steps = [];
  let x = a.length, y = b.length;
  for (let d = path.length - 1; d > 0; d--) {
    const reached = path[d - 1], k = x - y;
    const down = k === -d || (k !== d && at(reached, k - 1) < at(reached, k + 1));
    const before = down ? k + 1 : k - 1, fromX = at(reached, before), fromY = fromX - before;
    while (x > fromX && y > fromY && x > 0 && y > 0 && a[x - 1] === b[y - 1]) { steps.push(["same", a[--x]]); y--; }
    if (down) steps.push(["new", b[--y]]); else steps.push(["gone", a[--x]]);
  }
  while (x > 0) { steps.push(["same", a[--x]]); y--; }
  return steps.reverse();
}

// How far each diagonal reaches after 0, 1, … differing words; null where there are more than MOST.
function shortest(a, b) {
  const path = [];
  let reached = new Map([[1, 0]]);
  for (let d = 0; d <= Math.min(a.length + b.length, MOST); d++) {
    const next = new Map();
    for (let k = -d; k <= d; k += 2) {
      let x = d === 0 ? 0 : k === -d || (k !== d && at(reached, k - 1) < at(reached, k + 1)) ? at(reached, k + 1) : at(reached, k - 1) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      next.set(k, x);
      if (x >= a.length && x - k >= b.length) { path.push(next); return path; }
    }
    path.push(next);
    reached = next;
  }
  return null;
}

function at(reached, k) {
  return reached.get(k) ?? -1;
}
