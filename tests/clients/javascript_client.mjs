// Drives one published bytez.js, as its users do, and prints what it answered as JSON. argv: the package, the key.
const [name, key] = process.argv.slice(2);
const Bytez = (await import(name)).default;
const client = new Bytez(key, true);
const greedy = { max_new_tokens: 8, do_sample: false };

async function read(stream) {
  let text = "";
  for await (const piece of stream) text += piece.toString();
  return text;
}

const text = client.model("tiny/gpt2");
const told = {
  tasks: await client.list.tasks(),
  models: await client.list.models(),
  chatModels: await client.list.models({ task: "chat" }),
  text: await text.run("the cat", greedy),
  stream: await read(await text.run("the cat", greedy, true)),
  chat: await client.model("tiny/chat").run([{ role: "user", content: "hello" }], greedy),
  classify: await client.model("tiny/classifier").run("the cat"),
  embed: await client.model("tiny/encoder").run("the cat"),
  labels: await client.model("tiny/nli").run({ text: "the cat", candidate_labels: ["animal", "car"] }),
  question: await client.model("tiny/qa").run({ question: "who?", context: "the cat sat" }),
  wrongParams: await text.run("the cat", { colour: 1 }),
  unknown: await client.model("tiny/gtp2").run("the cat"),
  stranger: await new Bytez("wrong", true).model("tiny/gpt2").run("the cat"),
};
console.log(JSON.stringify(told));
