// What the server tells as it happens. Only while the page is seen: a hidden tab asks for nothing.

import { messages } from "../messages";
import { ApiProblem, type Query, queryOf, send } from "./http";

const AGAIN_MS = 3000;

/** By the name of an event, what is done with its data. */
export type Handlers = Record<string, (data: never) => void>;

/**
 * Listens until what it returns is called. `onProblem`: why nothing is told at this moment; null once it is again.
 * What was told is told anew when the page is seen again; lines of logs go on where they ended. `instead`: what is done,
 * again and again, while the server opens no stream.
 */
export function listen(
  path: string,
  query: Query,
  handlers: Handlers,
  onProblem: (problem: unknown) => void,
  instead?: () => Promise<void>,
): () => void {
  let source: EventSource | null = null;
  let again: ReturnType<typeof setTimeout> | undefined;
  let last = "";
  let ended = false;

  function open(): void {
    clearTimeout(again);
    if (ended || source || document.hidden) return;
    const opened = new EventSource(path + queryOf(last ? { ...query, after: last } : query));
    source = opened;
    let failures = 0;
    opened.onopen = () => {
      failures = 0;
      onProblem(null);
    };
    opened.onerror = () => {
      if (opened.readyState === EventSource.CLOSED) void refused();
      else if (++failures > 1) onProblem(new ApiProblem(0, messages.problems.notReached)); // the first: a stream has ended
    };
    for (const [name, handle] of Object.entries(handlers))
      opened.addEventListener(name, (event: MessageEvent<string>) => {
        if (event.lastEventId) last = event.lastEventId;
        handle(JSON.parse(event.data) as never);
      });
  }

  function close(): void {
    clearTimeout(again);
    source?.close();
    source = null;
  }

  /** The browser does not say why: the same, asked for otherwise, does, and signs out who is signed in no longer. */
  async function refused(): Promise<void> {
    close();
    let problem = await failureOf(send("GET", path, { query: { ...query, seconds: 0 } }).then((answer) => answer.body?.cancel()));
    if (problem instanceof ApiProblem && problem.isPassing && instead) problem = await failureOf(instead());
    if (ended) return;
    onProblem(problem);
    again = setTimeout(open, AGAIN_MS);
  }

  const look = (): void => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", look);
  open();
  return () => {
    ended = true;
    document.removeEventListener("visibilitychange", look);
    close();
  };
}

/** Null: there was none. */
const failureOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (error: unknown) => error,
  );

/** Does something now, and again after as many milliseconds as it says, while the page is seen, until what this returns is called. */
export function repeat(work: () => Promise<number>): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ended = false;

  async function turn(): Promise<void> {
    clearTimeout(timer);
    if (ended || document.hidden) return;
    const waitMs = await work();
    if (!ended) timer = setTimeout(() => void turn(), waitMs);
  }

  const look = (): void => void turn();
  document.addEventListener("visibilitychange", look);
  void turn();
  return () => {
    ended = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
  };
}
