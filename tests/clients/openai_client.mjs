// Drives OpenAI's own JavaScript client, as its users do, and prints what it got as JSON. argv: the base URL, the key.
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "hello" }];
const greedy = { temperature: 0, max_tokens: 8 };
const model = "tiny/chat";

async function refusal(call) {
  try {
    await call;
    return null;
  } catch (error) {
    return [error.constructor.name, error.status, error.param, error.code];
  }
}

const chat = await client.chat.completions.create({ model, messages, ...greedy });
let streamed = "";
let usage = null;
const options = { stream: true, stream_options: { include_usage: true } };
for await (const chunk of await client.chat.completions.create({ model, messages, ...greedy, ...options })) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
const response = await client.responses.create({ model, input: "hello", temperature: 0, max_output_tokens: 8 });
const events = [];
const stream = client.responses.stream({ model, input: "hello", temperature: 0, max_output_tokens: 8 });
for await (const event of stream) events.push(event.type);
const vectors = await client.embeddings.create({ model: "tiny/sentences", input: ["a cat", "a dog"] });
const completion = await client.completions.create({ model: "tiny/gpt2", prompt: "the cat", ...greedy });
const told = {
  chat: chat.choices[0].message.content,
  usage: [chat.usage, usage],
  streamed,
  response: [response.output_text, response.status],
  events,
  final: (await stream.finalResponse()).output_text,
  stored: (await client.responses.retrieve(response.id)).output_text,
  lengths: vectors.data.map((each) => each.embedding.length),
  completion: completion.choices[0].text,
  models: (await client.models.list()).data.map((each) => each.id),
  refusals: [
    await refusal(client.chat.completions.create({ model, messages, temperature: 3 })),
    await refusal(client.chat.completions.create({ model: "tiny/chap", messages })),
    await refusal(new OpenAI({ baseURL, apiKey: "nobody's", maxRetries: 0 }).models.list()),
  ],
};
console.log(JSON.stringify(told));
