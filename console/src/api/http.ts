// One way to ask the server: with the session's cookie, and every refusal as an ApiProblem.

import { messages } from "../messages";

export type Query = Record<string, string | number | boolean | null | undefined>;

export interface Asked {
  query?: Query;
  /** Sent as JSON, unless it is a FormData or a Blob. */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** The envelope of lists: `next` is what to send as `after` where there are more. */
export interface Listed<T> {
  output: T[];
  next?: string;
}

const PATIENCE_MS = 60_000;
const PASSING: readonly number[] = [0, 429, 502, 503, 504];

/** What the server, or the way to it, says no with. */
export class ApiProblem extends Error {
  /** The HTTP status; 0: the server was not reached. */
  readonly status: number;
  /** Names the error for programs, where the admin API says so. */
  readonly code: string | null;
  /** The field that is wrong, where one is. */
  readonly field: string | null;
  readonly requestId: string | null;

  constructor(status: number, message: string, code: string | null = null, field: string | null = null, requestId: string | null = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.field = field;
    this.requestId = requestId;
  }

  /** Whether the same may be answered in a while. */
  get isPassing(): boolean {
    return PASSING.includes(this.status);
  }
}

/** Set by the session: what is done when the server says that nobody is signed in. */
export const onSignedOut: { call: (problem: ApiProblem) => void } = { call: () => undefined };

/** Sends a request; its answer, not read yet. Raises ApiProblem, and AbortError where `signal` says so. */
export async function send(method: string, path: string, asked: Asked = {}): Promise<Response> {
  const headers = new Headers({ "x-modelyard-console": "1", ...asked.headers });
  const isJson = asked.body !== undefined && !(asked.body instanceof FormData) && !(asked.body instanceof Blob);
  if (isJson) headers.set("content-type", "application/json");
  const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store" };
  if (asked.signal) init.signal = asked.signal;
  if (asked.body !== undefined) init.body = isJson ? JSON.stringify(asked.body) : (asked.body as BodyInit);
  const response = await reached(fetch(path + queryOf(asked.query), init));
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.status === 401) onSignedOut.call(problem);
  throw problem;
}

/** The JSON that a request is answered with. Raises as `send`. */
export async function ask<T>(method: string, path: string, asked: Asked = {}): Promise<T> {
  const response = await send(method, path, asked);
  return (await reached(response.json())) as T;
}

/** Raises ApiProblem, too, where nothing has come for a minute. */
export function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  return ask<T>("GET", path, { query, signal: signal ? AbortSignal.any([signal, patience]) : patience });
}

/** All entries of a list that comes in pages, which has at most some thousands of them. */
export async function getAll<T>(path: string, query: Query = {}): Promise<T[]> {
  const all: T[] = [];
  let after: string | undefined;
  do {
    const page: Listed<T> = await get(path, { ...query, limit: 1000, after });
    all.push(...page.output);
    after = page.next;
  } while (after !== undefined);
  return all;
}

/** What came of asking the server. Raises ApiProblem where it was not reached, or the connection was lost on the way. */
async function reached<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (isAborted(error)) throw error;
    const isLate = error instanceof DOMException && error.name === "TimeoutError";
    throw new ApiProblem(0, isLate ? messages.problems.late(PATIENCE_MS / 1000) : messages.problems.notReached);
  }
}

export function isAborted(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** The path of a model below a prefix. Its name may have slashes, each part of it anything else. */
export function modelPath(prefix: string, modelId: string): string {
  return `${prefix}/${modelId.split("/").map(encodeURIComponent).join("/")}`;
}

export function queryOf(query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given.map(([name, value]): [string, string] => [name, String(value)])).toString();
  return text && `?${text}`;
}

async function problemOf(response: Response): Promise<ApiProblem> {
  const requestId = response.headers.get("x-request-id");
  try {
    const body = (await response.json()) as { error?: unknown; code?: string; field?: string };
    const error = body.error;
    const message =
      typeof error === "string" ? error : ((error as { message?: string } | undefined)?.message ?? messages.problems.unclear(response.status));
    return new ApiProblem(response.status, message, body.code ?? null, body.field ?? null, requestId);
  } catch {
    return new ApiProblem(response.status, messages.problems.unclear(response.status), null, null, requestId);
  }
}
