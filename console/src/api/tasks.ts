// What a task takes and answers, as far as a form and an answer are drawn of it.

import { get } from "./http";

export type MediaKind = "image" | "audio" | "video";
export type FieldKind =
  | MediaKind
  | "text"
  | "texts"
  | "messages"
  | "points"
  | "boxes"
  | "number"
  | "integer"
  | "switch"
  | "choice"
  | "json";

export interface TaskField {
  name: string;
  kind: FieldKind;
  required: boolean;
  description: string;
  /** Left out where the model decides. */
  default?: unknown;
  choices?: unknown[];
  minimum?: number;
  above?: number;
  maximum?: number;
  below?: number;
  step?: number;
  most?: number;
  /** False: a request that sets it is answered whole, not in a stream. */
  streams?: false;
}

export type Meaning = "score" | "label" | "text" | "thought" | "start" | "end" | "index" | "time" | "box" | "mask" | "image" | "sound";

export interface Task {
  task: string;
  summary: string;
  /** A body that it answers. */
  example: Record<string, unknown>;
  streams: boolean;
  /** What its one piece of media is. */
  media: MediaKind | null;
  /** What it makes; then its output is a URL. */
  makes: MediaKind | null;
  fields: TaskField[];
  settings: TaskField[];
  /** Fields of its output, by name; `of`: the field of the request that one points into. */
  meanings: Record<string, { means: Meaning; of?: string }>;
  /** Paths of other APIs that ask models of the task. */
  surfaces: string[];
}

export const readTask = async (name: string): Promise<Task> =>
  (await get<{ output: Task }>(`/models/v2/list/tasks/${encodeURIComponent(name)}`)).output;
