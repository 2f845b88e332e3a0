// OpenAI's guide of a fine-tuning job by the official Node client: one JSON object on standard output.
// node jobs.mjs <base URL> <key> <file of rows> <model> <file of preferences>
import fs from "node:fs";
import OpenAI, { toFile } from "openai";

const [baseURL, apiKey, rows, model, preferences] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey });
const all = async (list) => {
  const items = [];
  for await (const item of list) items.push(item);
  return items;
};
const until = async (job, statuses) => {
  while (!statuses.includes(job.status)) {
    await new Promise((resume) => setTimeout(resume, 100));
    job = await client.fineTuning.jobs.retrieve(job.id);
  }
  return job;
};
const ended = ["succeeded", "failed", "cancelled"];
const asked = [{ role: "user", content: "متى تفتح العيادة؟" }];

const pairs = await client.files.create({ file: fs.createReadStream(preferences), purpose: "fine-tune" });
const preferred = await until(
  await client.fineTuning.jobs.create({
    model,
    training_file: pairs.id,
    suffix: "preferred",
    seed: 5,
    method: { type: "dpo", dpo: { hyperparameters: { n_epochs: 1, batch_size: 10, beta: 0.2 } } },
  }),
  ended,
);
const chosen = await client.chat.completions.create({
  model: preferred.fine_tuned_model,
  messages: asked,
  max_tokens: 4,
});

const file = await client.files.create({ file: fs.createReadStream(rows), purpose: "fine-tune" });
const processed = await client.files.waitForProcessing(file.id);

const text = fs.readFileSync(rows);
const upload = await client.uploads.create({
  bytes: text.length,
  filename: "rows.jsonl",
  mime_type: "application/jsonl",
  purpose: "fine-tune",
});
const half = Math.floor(text.length / 2);
const late = await client.uploads.parts.create(upload.id, { data: await toFile(text.subarray(half)) });
const early = await client.uploads.parts.create(upload.id, { data: await toFile(text.subarray(0, half)) });
const whole = await client.uploads.complete(upload.id, { part_ids: [early.id, late.id] });
const content = Buffer.from(await (await client.files.content(whole.file.id)).arrayBuffer());

const hyperparameters = { n_epochs: 1, batch_size: 10 };
const job = await until(
  await client.fineTuning.jobs.create({
    model,
    training_file: whole.file.id,
    suffix: "node",
    method: { type: "supervised", supervised: { hyperparameters } },
  }),
  ended,
);
const events = await all(client.fineTuning.jobs.listEvents(job.id, { limit: 2 }));
const checkpoints = await all(client.fineTuning.jobs.checkpoints.list(job.id));
const table = await (await client.files.content(job.result_files[0])).text();
const answer = await client.chat.completions.create({
  model: job.fine_tuned_model,
  messages: asked,
  max_tokens: 4,
});

// So long that it has not ended before it is stopped.
const second = await client.fineTuning.jobs.create({
  model,
  training_file: file.id,
  suffix: "stopped",
  method: { type: "supervised", supervised: { hyperparameters: { n_epochs: 50, batch_size: 1 } } },
});
await until(second, ["queued", "running", ...ended]);
const paused = await client.fineTuning.jobs.pause(second.id);
const resumed = await client.fineTuning.jobs.resume(second.id);
const cancelled = await client.fineTuning.jobs.cancel(second.id);
let refused = null;
try {
  await client.fineTuning.jobs.cancel(second.id);
} catch (error) {
  refused = { name: error.constructor.name, status: error.status, code: error.code };
}

console.log(
  JSON.stringify({
    file: processed.status,
    upload: whole.status,
    same: content.equals(text),
    status: job.status,
    error: job.error?.message ?? null,
    model: job.fine_tuned_model,
    events: events.map((event) => event.message),
    checkpoints: checkpoints.map((each) => each.step_number),
    table: Buffer.from(table, "base64").toString(),
    answered_by: answer.model,
    answer: answer.choices[0].message.content,
    dpo: { status: preferred.status, method: preferred.method, called: chosen.model === preferred.fine_tuned_model },
    stops: [paused.status, resumed.status],
    cancelled: cancelled.status,
    refused,
    jobs: (await all(client.fineTuning.jobs.list({ limit: 1 }))).map((each) => each.id),
    ids: [second.id, job.id],
    files: (await all(client.files.list({ limit: 1 }))).length,
    deleted: (await client.models.delete(job.fine_tuned_model)).deleted,
  }),
);
