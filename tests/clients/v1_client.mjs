// Drives the v1 client bytez.js 0.4.2 as its users do, and prints what it answered as JSON. argv: the package, the key.
// Its host is fixed, so the global fetch it uses is pointed at the local server.
const hosted = globalThis.fetch;
globalThis.fetch = (url, options) => hosted(String(url).replace("https://api.bytez.com", "http://localhost:8080"), options);
console.log = console.error; // the client prints each status while it loads

const [name, key] = process.argv.slice(2);
const imported = (await import(name)).default;
const Bytez = imported.default ?? imported;
const client = new Bytez(key);
const greedy = { max_new_tokens: 8, min_new_tokens: 8, do_sample: false };
const model = client.model("tiny/gpt2");

async function read(stream) {
  let text = "";
  for await (const piece of stream) text += new TextDecoder().decode(piece);
  return text;
}

const processed = [await client.process("tiny/encoder")];
while (processed.at(-1).message !== "Model available" && processed.at(-1).success) {
  await new Promise((resolve) => setTimeout(resolve, 200));
  processed.push(await client.process("tiny/encoder"));
}
const told = { processed, models: await client.list.models.all(), chatModels: await client.list.models.byTask("chat") };
await model.load({ concurrency: 1, timeout: 300 });
await model.load();
told.status = await model.status();
told.instances = await client.list.instances();
told.run = await model.run("Once upon a time", greedy);
told.stream = await read(await model.run({ text: "Once upon a time" }, { ...greedy, stream: true }));
told.notLoaded = await client.model("tiny/t5").run("hello");
told.stop = await model.stop();
told.instancesAfter = await client.list.instances();
process.stdout.write(JSON.stringify(told));
