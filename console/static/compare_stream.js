// The events of a stream of several answers: one body, each event a line of JSON that names its pane.
export async function readEvents(body, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let kept = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (kept + value).split("\n");
    kept = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) take(JSON.parse(line.slice(6)));
  }
}

// Marks that turn the order of letters around are shown by their number, as the server's Markdown shows them.
export function shownText(text) {
  return text.replace(/[\u202a-\u202e]/g, (mark) => `[U+${mark.codePointAt(0).toString(16).toUpperCase()}]`);
}
