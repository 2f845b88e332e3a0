// What the official Node client makes of a service: one JSON object on standard output, for a test in Python to judge.
// node client.mjs <base URL> <model> <embedding model>
import OpenAI from "openai";

const [baseURL, model, embedder] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "متى تفتح العيادة؟" }];
const asked = { model, messages, max_tokens: 12, temperature: 0 };

const whole = await client.chat.completions.create(asked);

let streamed = "";
let usage = null;
for await (const chunk of await client.chat.completions.create({
  ...asked,
  stream: true,
  stream_options: { include_usage: true },
})) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}

const plain = await client.completions.create({ model, prompt: "The clinic", max_tokens: 4, temperature: 0 });

const shortened = { model, input: messages[0].content, max_output_tokens: 12, temperature: 0 };
const response = await client.responses.create(shortened);
const stream = client.responses.stream(shortened);
const kinds = [];
for await (const event of stream) kinds.push(event.type);
const final = await stream.finalResponse();

const models = [];
for await (const one of client.models.list()) models.push(one.id);
const card = await client.models.retrieve(model);

const vectors = await client.embeddings.create({ model: embedder, input: ["a clinic", "a desk"] });

async function refused(work) {
  try {
    await work();
  } catch (error) {
    const { status, code, param, type, requestID } = error;
    return { name: error.constructor.name, status, code, param, type, requestID };
  }
  throw new Error("it was not refused");
}

console.log(
  JSON.stringify({
    whole: whole.choices[0].message.content,
    wholeUsage: whole.usage,
    requestId: whole._request_id,
    streamed,
    usage,
    plain: plain.choices[0].text,
    response: response.output_text,
    status: response.status,
    final: final.output_text,
    kinds,
    models,
    card,
    vectors: vectors.data.map((one) => one.embedding),
    unknown: await refused(() => client.chat.completions.create({ ...asked, model: "nobody" })),
    wrong: await refused(() => client.chat.completions.create({ ...asked, temperature: "hot" })),
    kept: await refused(() => client.responses.create({ ...shortened, previous_response_id: "resp_1" })),
  }),
);
