// What an output of any task has to show, by what its fields mean. Knows meanings, no task.

import type { Meaning, Task } from "../../api/tasks";

export interface Box {
  xmin: number;
  ymin: number;
  xmax: number;
  ymax: number;
}

/** A file. `data`: in base64. */
export interface Sound {
  data: string;
  media_type: string;
}

/** One record of an output. */
export interface Part {
  score?: number | null;
  label?: string;
  text?: string;
  thought?: string;
  start?: number;
  end?: number;
  /** The field of the request that start and end count in, or index does. */
  of?: string;
  index?: number;
  time?: [number, number];
  box?: Box;
  /** PNG in base64. */
  mask?: string;
  image?: string;
  sound?: Sound;
}

/** What is drawn of an output: its texts, its vectors, or groups of records, each group about one thing that was sent. */
export interface Drawn {
  texts: string[];
  vectors: number[][];
  groups: Part[][];
}

type Meanings = Task["meanings"];
type Json = Record<string, unknown>;

const isRecord = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);
const isNumbers = (value: unknown): value is number[] => Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "number");

export function drawn(output: unknown, meanings: Meanings): Drawn {
  const all: Drawn = { texts: [], vectors: [], groups: [] };
  add(output, meanings, all);
  return all;
}

function add(value: unknown, meanings: Meanings, all: Drawn): void {
  if (typeof value === "string") all.texts.push(value);
  else if (isNumbers(value)) all.vectors.push(value);
  else if (isRecord(value)) all.groups.push(partsOf(value, meanings));
  else if (Array.isArray(value)) {
    const records = value.filter(isRecord);
    if (records.length) all.groups.push(records.flatMap((record) => partsOf(record, meanings)));
    for (const each of value) if (!isRecord(each)) add(each, meanings, all);
  }
}

/** A record's parts: one, or where its fields hold lists, one for each of their items, and those of records within. */
function partsOf(record: Json, meanings: Meanings): Part[] {
  const own: Json = {};
  const lists: [Meaning, unknown[]][] = [];
  const within: Part[] = [];
  for (const [name, value] of Object.entries(record)) {
    const meaning = meanings[name];
    if (Array.isArray(value) && value.every(isRecord)) {
      if (meaning?.means === "text") own.text = value.map((block) => block.text ?? "").join("");
      else within.push(...value.flatMap((each) => partsOf(each, meanings)));
    } else if (!meaning || value === undefined) continue;
    else if (Array.isArray(value) && meaning.means !== "time") lists.push([meaning.means, value]);
    else {
      own[meaning.means] = value;
      if (meaning.of) own.of = meaning.of;
    }
  }
  if (!lists.length) return Object.keys(own).length ? [own as Part, ...within] : within;
  const length = Math.max(...lists.map(([, list]) => list.length));
  const items = Array.from({ length }, (_, i) => Object.fromEntries(lists.map(([means, list]) => [means, list[i]])) as Part);
  return [...(Object.keys(own).length ? [own as Part] : []), ...items, ...within];
}

/** The text of an assistant's message, or of whatever else has one. */
export const textOf = (output: unknown, meanings: Meanings): string => {
  const found = drawn(output, meanings);
  return [...found.texts, ...found.groups.flat().flatMap((part) => part.text ?? [])].join("\n");
};

const LONG_TEXT = 200;
const LONG_LIST = 100;

/** An output as JSON that a page can hold: of long texts and lists their beginning. `cut`: says what was left out. */
export function shortened(value: unknown, cut: (left: number) => string): unknown {
  if (typeof value === "string" && value.length > 20 * LONG_TEXT) return value.slice(0, LONG_TEXT) + cut(value.length - LONG_TEXT);
  if (Array.isArray(value)) {
    const shown = value.slice(0, LONG_LIST).map((each) => shortened(each, cut));
    return value.length > LONG_LIST ? [...shown, cut(value.length - LONG_LIST)] : shown;
  }
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, shortened(each, cut)]));
}
