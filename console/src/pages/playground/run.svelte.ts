// One request to one model: what it waits for, what comes, when, and what it took. Reads its stream, and can be stopped.

import { ApiProblem, isAborted } from "../../api/http";
import { infer, readClusters, readTaken, readWaiting, type Taken, type Waiting } from "../../api/inference";
import type { Task } from "../../api/tasks";
import { messages } from "../../messages";
import { resolved, type Plan } from "./draft.svelte";

const SHOWN_EVERY_MS = 40;
const ASKED_EVERY_MS = 700;
const LET_GO_MS = 1500;
const STEP = /^step (\d+)\/(\d+)$/;

export type RunState = "waiting" | "streaming" | "done" | "failed" | "stopped";

export class Run {
  state = $state<RunState>("waiting");
  /** What has come of a stream. */
  text = $state("");
  /** The answer, whole; undefined until it is there. */
  output = $state.raw<unknown>(undefined);
  error = $state.raw<unknown>(null);
  waiting = $state.raw<Waiting | null>(null);
  /** Of what is made in steps: how many are done, of how many. */
  steps = $state.raw<{ done: number; all: number } | null>(null);
  /** Milliseconds from the request to its first piece, and to now or its end. */
  firstMs = $state<number | null>(null);
  totalMs = $state(0);
  taken = $state.raw<Taken | null>(null);
  readonly modelId: string;
  readonly task: Task;
  /** As it was asked: its texts and files are what the answer is about. */
  readonly plan: Plan;
  private readonly abort = new AbortController();
  private began = 0;
  private arrived = "";

  constructor(modelId: string, task: Task, plan: Plan) {
    this.modelId = modelId;
    this.task = task;
    this.plan = plan;
  }

  get isUnderWay(): boolean {
    return this.state === "waiting" || this.state === "streaming";
  }

  /** Tokens written in a second of the instance's time; null where that is not known. */
  get tokensPerSecond(): number | null {
    const taken = this.taken;
    return taken?.newTokens && taken.time ? taken.newTokens / taken.time : null;
  }

  stop(): void {
    this.abort.abort();
  }

  /** Asks, and returns when it is over, however that is. */
  async start(): Promise<void> {
    this.began = performance.now();
    const clock = setInterval(() => this.show(), SHOWN_EVERY_MS);
    const wait = setTimeout(() => void this.watch(), ASKED_EVERY_MS);
    let requestId: string | null = null;
    try {
      const body = await resolved(this.plan);
      const response = await infer(this.modelId, body, this.abort.signal);
      requestId = response.headers.get("x-request-id");
      await (this.plan.stream ? this.readStream(response) : this.readWhole(response));
      this.state = "done";
    } catch (error) {
      this.state = isAborted(error) ? "stopped" : "failed";
      this.error = isAborted(error) ? null : error instanceof ApiProblem ? error : new ApiProblem(0, messages.playground.brokeOff);
    } finally {
      clearInterval(clock);
      clearTimeout(wait);
      this.show();
      this.waiting = null;
    }
    if (requestId) await this.readTaken(requestId);
  }

  private async readWhole(response: Response): Promise<void> {
    const answer = (await response.json()) as { output: unknown };
    this.firstMs = performance.now() - this.began;
    this.output = answer.output;
  }

  private async readStream(response: Response): Promise<void> {
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      this.firstMs ??= performance.now() - this.began;
      this.state = "streaming";
      this.arrived += value;
    }
    this.show();
    // What is made comes as lines that count its steps, and its URL behind them.
    this.output = this.task.makes ? this.text.trim().split("\n").at(-1) : this.text;
  }

  /** Shows what has come: seldom enough that a fast stream does not hold up the page. */
  private show(): void {
    this.totalMs = performance.now() - this.began;
    if (this.text.length === this.arrived.length) return;
    this.text = this.arrived;
    if (!this.task.makes) return;
    const step = this.text.split("\n").map((line) => STEP.exec(line)).findLast((found) => found !== null);
    if (step) this.steps = { done: Number(step[1]), all: Number(step[2]) };
  }

  /** Says what the request waits for, as long as nothing has come. */
  private async watch(): Promise<void> {
    let hasCluster = false;
    while (this.state === "waiting") {
      try {
        hasCluster ||= (await readClusters(this.abort.signal)).includes(this.modelId);
        if (hasCluster) this.waiting = await readWaiting(this.modelId, this.abort.signal);
      } catch (error) {
        if (!(error instanceof ApiProblem)) return; // it was stopped
      }
      await new Promise((resolve) => setTimeout(resolve, ASKED_EVERY_MS));
    }
  }

  private async readTaken(requestId: string): Promise<void> {
    // What was stopped is known once its instance has let go of it.
    if (this.state === "stopped") await new Promise((resolve) => setTimeout(resolve, LET_GO_MS));
    try {
      this.taken = await readTaken(requestId);
    } catch (error) {
      if (!(error instanceof ApiProblem)) throw error; // a request that no instance has had took nothing
    }
  }
}
