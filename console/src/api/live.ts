// What the server tells as it happens. Only while the page is seen: a hidden tab asks for nothing.

import { type Query, queryOf } from "./http";
import { readSession } from "./session";

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

  function open(): void {
    clearTimeout(again);
    if (source || document.hidden) return;
    const opened = new EventSource(path + queryOf(last ? { ...query, after: last } : query));
    source = opened;
    opened.onopen = () => onProblem(null);
    opened.onerror = () => {
      if (opened.readyState === EventSource.CLOSED) void refused();
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

  /** The browser does not say why: asking who is signed in does, or shows that it is no longer so. */
  async function refused(): Promise<void> {
    close();
    try {
      await readSession();
      if (instead) {
        await instead();
        onProblem(null);
      }
    } catch (error) {
      onProblem(error);
    }
    again = setTimeout(open, AGAIN_MS);
  }

  const look = (): void => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", look);
  open();
  return () => {
    document.removeEventListener("visibilitychange", look);
    close();
  };
}

/** Does something now and again and again, while the page is seen, until what it returns is called. */
export function repeat(everyMs: number, work: () => Promise<void>): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ended = false;

  async function turn(): Promise<void> {
    clearTimeout(timer);
    if (ended || document.hidden) return;
    await work();
    if (!ended) timer = setTimeout(() => void turn(), everyMs);
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
