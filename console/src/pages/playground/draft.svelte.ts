// What is filled in of a task's form, and the request's body made of it. Knows kinds of fields, no task.

import type { MediaKind, Task, TaskField } from "../../api/tasks";
import { messages } from "../../messages";
import { dataUrl, fromBase64, type Media } from "./media";

/** In a plan, the place of a file whose bytes go into the body. */
export class FileRef {
  constructor(
    readonly blob: Blob,
    readonly name: string,
  ) {}
}

/** A body in which files are FileRefs: read by code that shows the call, and sent once they are read. */
export type Plan = Record<string, unknown>;

/** What is wrong with a field before anything is sent. `field`: its name, that of a setting with `params.` before it. */
export class FieldProblem extends Error {
  constructor(
    readonly field: string,
    message: string,
  ) {
    super(message);
  }
}

/** Whether a setting's control holds anything. */
export const isSet = (value: unknown): boolean => value !== undefined && value !== null && value !== "";
export const isMedia = (field: TaskField): field is TaskField & { kind: MediaKind } => ["image", "audio", "video"].includes(field.kind);
/** What clients call the one piece of media that a task reads. */
export const MEDIA_NAMES = ["base64", "url", "image_url", "audio_url", "video_url"];
export const PARAMS = "params";

/** The fields of a form, each with what its control holds: text as it was typed, undefined where nothing is set. */
export class Draft {
  readonly task: Task;
  /** Whether the task is a conversation, which has a form of its own in place of texts and media. One that may be told
   * what was said before, but need not be, is none. */
  readonly isTalk: boolean;
  inputs = $state<Record<string, unknown>>({});
  settings = $state<Record<string, unknown>>({});
  streams = $state(true);

  constructor(task: Task) {
    this.task = task;
    this.isTalk = task.fields.some((field) => field.kind === "messages" && field.name in task.example);
    for (const field of this.fields) this.inputs[field.name] = held(field, exampleOf(field, task));
    const params = (task.example[PARAMS] ?? {}) as Record<string, unknown>;
    for (const field of task.settings) if (field.name in params) this.settings[field.name] = held(field, params[field.name]);
  }

  /** The inputs that are filled in beside a conversation. */
  get fields(): TaskField[] {
    return this.task.fields.filter((field) => (this.isTalk ? field.kind === "json" : field.kind !== "messages"));
  }

  /** Whether the task answers in a stream. */
  get canStream(): boolean {
    return this.task.streams || this.task.makes !== null;
  }

  /** The setting for which an answer is whole, where one is set. */
  get whole(): string | undefined {
    return this.task.settings.find((field) => field.streams === false && isSet(this.settings[field.name]))?.name;
  }

  /** The body. `talk`: its messages, where the task is a conversation. Raises FieldProblem. */
  plan(talk?: Plan[]): Plan {
    const body: Plan = {};
    if (talk) body[this.task.fields.find((field) => field.kind === "messages")!.name] = talk;
    Object.assign(body, planOf(this.fields, this.inputs, ""));
    const params = planOf(this.task.settings, this.settings, `${PARAMS}.`);
    if (Object.keys(params).length) body[PARAMS] = params;
    if (this.canStream && this.streams && !this.whole) body.stream = true;
    return body;
  }
}

/** A plan with its files read, as it is sent. */
export async function resolved(plan: unknown): Promise<unknown> {
  if (plan instanceof FileRef) return dataUrl(plan.blob);
  if (Array.isArray(plan)) return Promise.all(plan.map(resolved));
  if (plan === null || typeof plan !== "object") return plan;
  const entries = Object.entries(plan).map(async ([name, value]) => [name, await resolved(value)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

export const planOfMedia = (media: Media): FileRef | string => ("url" in media ? media.url : new FileRef(media.blob, media.name));

/** The name of the field, setting or message that an error of the server is about: the path at its beginning. */
export function fieldOf(task: Task, error: unknown): string | null {
  const path = /^([\w.]+)(?:\[\d+\][\w.[\]]*)?: /.exec(error instanceof Error ? error.message : "")?.[1];
  if (!path) return null;
  if (path.startsWith(`${PARAMS}.`)) return path.split(".").slice(0, 2).join(".");
  const field = task.fields.find((each) => each.name === path) ?? (path === "media" || MEDIA_NAMES.includes(path) ? task.fields.find(isMedia) : undefined);
  return field?.name ?? null;
}

function exampleOf(field: TaskField, task: Task): unknown {
  if (field.name in task.example) return task.example[field.name];
  const name = isMedia(field) && task.media === field.kind ? MEDIA_NAMES.find((each) => each in task.example) : undefined;
  // Only the task's one piece of media goes by these names; further images have names of their own.
  return name && task.fields.find(isMedia) === field ? task.example[name] : undefined;
}

/** What a control holds of a value. */
function held(field: TaskField, value: unknown): unknown {
  switch (field.kind) {
    case "image":
    case "audio":
    case "video":
      return typeof value === "string" ? (/^https?:/i.test(value) ? { url: value } : fromBase64(value, field.kind)) : null;
    case "texts":
      return Array.isArray(value) ? value : [""];
    case "points":
    case "boxes":
      return Array.isArray(value) ? value : [];
    case "switch":
    case "choice":
      return value;
    case "json":
      return value === undefined ? "" : JSON.stringify(value);
    default:
      return value === undefined ? "" : String(value);
  }
}

function planOf(fields: readonly TaskField[], values: Record<string, unknown>, before: string): Plan {
  const plan: Plan = {};
  for (const field of fields) {
    const value = sent(field, values[field.name], before + field.name);
    if (value !== undefined) plan[field.name] = value;
  }
  return plan;
}

/** What is sent of what a control holds; undefined: nothing. Raises FieldProblem. */
function sent(field: TaskField, value: unknown, where: string): unknown {
  switch (field.kind) {
    case "image":
    case "audio":
    case "video":
      return value ? planOfMedia(value as Media) : undefined;
    case "texts": {
      const texts = ((value ?? []) as string[]).filter((text) => text.trim());
      return texts.length || field.required ? texts : undefined;
    }
    case "points":
    case "boxes":
      return (value as unknown[] | undefined)?.length ? $state.snapshot(value) : undefined;
    case "switch":
    case "choice":
      return value;
    case "json":
      return value ? parsed(value as string, where) : undefined;
    case "number":
    case "integer":
      return value === "" || value === null || value === undefined ? undefined : numberOf(value, where);
    default:
      return value || field.required ? (value ?? "") : undefined;
  }
}

function numberOf(value: unknown, where: string): number {
  const number = Number(value);
  if (Number.isNaN(number)) throw new FieldProblem(where, messages.playground.noNumber(where));
  return number;
}

function parsed(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new FieldProblem(where, messages.playground.noJson(where));
  }
}
