// The call that a form stands for, in the languages that people call from. Files are read by the code that is shown.

import { modelPath } from "../../api/http";
import type { Task } from "../../api/tasks";
import { FileRef, PARAMS, type Plan } from "./draft.svelte";

export interface Code {
  name: string;
  text: string;
}

interface Literals {
  null: string;
  true: string;
  false: string;
  file: (ref: FileRef) => string;
}

interface Call {
  origin: string;
  modelId: string;
  plan: Plan;
}

const TYPE = /^[\w-]+\/[\w.+-]+$/;
const KEY = "MODELYARD_KEY";
const JSON_LITERALS = { null: "null", true: "true", false: "false" };
const PYTHON: Literals = { null: "None", true: "True", false: "False", file: (ref) => `data_url(${quoted(ref.name)}, ${quoted(typeOf(ref))})` };
const JAVASCRIPT: Literals = { ...JSON_LITERALS, file: (ref) => `await dataUrl(${quoted(ref.name)}, ${quoted(typeOf(ref))})` };

/** The same call in every language that fits. */
export function codesOf(task: Task, modelId: string, plan: Plan): Code[] {
  const call = { origin: location.origin, modelId, plan };
  const openai = openaiOf(task, call);
  return [
    { name: "curl", text: curlOf(call) },
    { name: "Python", text: pythonOf(call) },
    ...(openai ? [{ name: "Python (openai)", text: openai }] : []),
    { name: "JavaScript", text: javascriptOf(call) },
  ];
}

function curlOf({ origin, modelId, plan }: Call): string {
  const withFiles = filesIn(plan);
  const escaped = (text: string) => (withFiles ? text.replace(/[\\$`]/g, "\\$&") : text);
  const file = (ref: FileRef) => `"data:${typeOf(ref)};base64,$(base64 -w0 ${shellQuoted(ref.name)})"`;
  const body = literal(plan, { ...JSON_LITERALS, file }, "", escaped);
  return [
    `curl ${shellQuoted(urlOf(origin, modelId))}${plan.stream ? " --no-buffer" : ""} \\`,
    `  -H "Authorization: Key $${KEY}" -H "Content-Type: application/json" \\`,
    `  -d @- <<${withFiles ? "JSON" : "'JSON'"}`,
    body,
    "JSON",
  ].join("\n");
}

function pythonOf({ origin, modelId, plan }: Call): string {
  const streams = Boolean(plan.stream);
  return [
    ...(filesIn(plan) ? ["import base64"] : []),
    "import os",
    "",
    "import requests",
    ...pythonFiles(plan),
    "",
    "answer = requests.post(",
    `    ${quoted(urlOf(origin, modelId))},`,
    `    headers={"Authorization": f"Key {os.environ['${KEY}']}"},`,
    `    json=${literal(plan, PYTHON, "    ")},`,
    ...(streams ? ["    stream=True,"] : []),
    ")",
    "answer.raise_for_status()",
    ...(streams
      ? ['answer.encoding = "utf-8"', "for piece in answer.iter_content(None, decode_unicode=True):", '    print(piece, end="", flush=True)']
      : ['print(answer.json()["output"])']),
  ].join("\n");
}

function javascriptOf({ origin, modelId, plan }: Call): string {
  const streams = Boolean(plan.stream);
  return [
    ...(filesIn(plan)
      ? [
          'import { readFile } from "node:fs/promises";',
          "",
          'const dataUrl = async (name, type) => `data:${type};base64,${await readFile(name, "base64")}`;',
          "",
        ]
      : []),
    `const answer = await fetch(${quoted(urlOf(origin, modelId))}, {`,
    '  method: "POST",',
    `  headers: { Authorization: \`Key \${process.env.${KEY}}\`, "Content-Type": "application/json" },`,
    `  body: JSON.stringify(${literal(plan, JAVASCRIPT, "  ")}),`,
    "});",
    "if (!answer.ok) throw new Error((await answer.json()).error);",
    ...(streams
      ? ["for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) process.stdout.write(piece);"]
      : ["console.log((await answer.json()).output);"]),
  ].join("\n");
}

/** Settings that OpenAI's API has too → what it calls them. */
const OPENAI_SETTINGS: Record<string, string> = {
  max_new_tokens: "max_tokens",
  temperature: "temperature",
  top_p: "top_p",
  stop: "stop",
  seed: "seed",
  frequency_penalty: "frequency_penalty",
  presence_penalty: "presence_penalty",
  dimensions: "dimensions",
};

interface OpenAICall {
  method: string;
  /** What the call has beside the model; undefined where the form has nothing for it. */
  given: (plan: Plan) => Plan | undefined;
  /** What it has for settings that are no single one of its own. */
  settings?: (params: Plan) => Plan;
  streams: boolean;
  answer: string;
  piece?: string;
}

/** Where OpenAI's API has a call → how its client makes it. */
const OPENAI_CALLS: Record<string, OpenAICall> = {
  "/v1/chat/completions": {
    method: "chat.completions.create",
    given: ({ messages }) => (messages ? { messages } : undefined),
    settings: speechOf,
    streams: true,
    answer: "answer.choices[0].message.content",
    piece: "piece.choices[0].delta.content",
  },
  "/v1/completions": {
    method: "completions.create",
    given: ({ text }) => (typeof text === "string" ? { prompt: text } : undefined),
    streams: true,
    answer: "answer.choices[0].text",
    piece: "piece.choices[0].text",
  },
  "/v1/embeddings": {
    method: "embeddings.create",
    given: ({ text }) => (text === undefined ? undefined : { input: text }),
    streams: false,
    answer: "answer.data[0].embedding",
  },
  "/v1/images/generations": {
    method: "images.generate",
    given: ({ text }) => (text === undefined ? undefined : { prompt: text }),
    streams: false,
    answer: "answer.data[0].url",
  },
};

/** How OpenAI's API asks for an answer that is said. */
function speechOf({ voice, audio_format: format = "wav" }: Plan): Plan {
  return voice ? { modalities: ["text", "audio"], audio: { voice, format: format === "pcm" ? "pcm16" : format } } : {};
}

function openaiOf(task: Task, { origin, modelId, plan }: Call): string | null {
  for (const [path, call] of Object.entries(OPENAI_CALLS)) {
    const given = task.surfaces.includes(path) ? call.given(plan) : undefined;
    if (!given) continue;
    const streams = call.streams && Boolean(plan.stream);
    const params = (plan[PARAMS] ?? {}) as Plan;
    const settings = Object.entries(params).flatMap(([name, value]): [string, unknown][] => (OPENAI_SETTINGS[name] ? [[OPENAI_SETTINGS[name], value]] : []));
    const named = Object.entries({
      model: modelId,
      ...given,
      ...Object.fromEntries(settings),
      ...call.settings?.(params),
      ...(streams ? { stream: true } : {}),
    });
    return [
      ...(filesIn(given) ? ["import base64"] : []),
      "import os",
      "",
      "from openai import OpenAI",
      ...pythonFiles(given),
      "",
      `client = OpenAI(base_url=${quoted(`${origin}/v1`)}, api_key=os.environ["${KEY}"])`,
      `answer = client.${call.method}(`,
      ...named.map(([name, value]) => `    ${name}=${literal(value, PYTHON, "    ")},`),
      ")",
      ...(streams ? ["for piece in answer:", "    if piece.choices:", `        print(${call.piece} or "", end="", flush=True)`] : [`print(${call.answer})`]),
    ].join("\n");
  }
  return null;
}

function pythonFiles(plan: unknown): string[] {
  if (!filesIn(plan)) return [];
  return [
    "",
    "",
    "def data_url(name, type):",
    '    with open(name, "rb") as file:',
    '        return f"data:{type};base64,{base64.b64encode(file.read()).decode()}"',
    "",
  ];
}

const urlOf = (origin: string, modelId: string): string => origin + modelPath("/models/v2", modelId);
/** Without what follows it in recordings: `video/webm;codecs=vp8,opus`. */
function typeOf({ blob }: FileRef): string {
  const type = blob.type.split(";", 1)[0]!;
  return TYPE.test(type) ? type : "application/octet-stream";
}

function filesIn(plan: unknown): boolean {
  if (plan instanceof FileRef) return true;
  return plan !== null && typeof plan === "object" && Object.values(plan).some(filesIn);
}

/** Text in double quotes that JSON, Python and JavaScript read alike. */
const quoted = (text: string): string => JSON.stringify(text).replace(/[\u007f\u2028\u2029]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
const shellQuoted = (text: string): string => (/^[\w./:@%-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** A value as a language writes it, lists of numbers in one line. `indent`: of the line that it begins in. */
function literal(value: unknown, words: Literals, indent = "", escaped = (text: string): string => text): string {
  if (value instanceof FileRef) return words.file(value);
  if (value === null || value === undefined) return words.null;
  if (typeof value === "boolean") return value ? words.true : words.false;
  if (typeof value === "string") return escaped(quoted(value));
  if (typeof value !== "object") return String(value);
  const inner = `${indent}${words.null === "None" ? "    " : "  "}`;
  const isList = Array.isArray(value);
  const items = isList
    ? value.map((each) => literal(each, words, inner, escaped))
    : Object.entries(value).map(([name, each]) => `${escaped(quoted(name))}: ${literal(each, words, inner, escaped)}`);
  const [open, close] = isList ? "[]" : "{}";
  const line = `${open}${items.join(", ")}${close}`;
  if (line.length + indent.length < 88 && !line.includes("\n")) return line;
  return `${open}\n${items.map((item) => inner + item).join(",\n")}\n${indent}${close}`;
}
