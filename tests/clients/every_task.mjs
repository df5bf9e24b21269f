// Runs each model of the list on standard input with bytez.js, by that client's own way of passing input.
// argv: the package, the key. stdin: [[model id, input, params], ...]. Prints the answers in order as [output, error].
import { readFileSync } from "node:fs";

const [name, key] = process.argv.slice(2);
const Bytez = (await import(name)).default;
const client = new Bytez(key, true);
const answers = [];
for (const [modelId, input, params] of JSON.parse(readFileSync(0, "utf8"))) {
  const { output, error } = await client.model(modelId).run(input ?? undefined, params);
  answers.push([output ?? null, error ?? null]);
}
console.log(JSON.stringify(answers));
