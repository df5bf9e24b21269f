import { ask, get, modelPath, type Query } from "./http";
import { listen } from "./live";

export type JobState = "queued" | "downloading" | "inspecting" | "exporting" | "benchmarking" | "done" | "failed";

/** How far making a model available has got. */
export interface Job {
  modelId: string;
  status: JobState;
  message: string;
  attempts: number;
  created: string;
  modified: string;
  startTime: string | null;
  endTime: string | null;
}

const OWN = "/models/v2/list/jobs";
const OF_ALL = "/admin/v1/jobs";

/** What is done with jobs as they are told. */
export interface JobHandlers {
  /** Each at first, and again whenever it has changed. */
  job: (job: Job) => void;
  /** Once all were told that there are. */
  known: () => void;
  /** Why nothing is told at this moment; null once it is again. */
  problem: (problem: unknown) => void;
}

/**
 * Watches the account's own jobs, or for the operator those of all, until what it returns is called. Where the server
 * opens no stream, as somebody has too many of them, the list is read now and again.
 */
export function watchJobs(ofAll: boolean, query: Query, handlers: JobHandlers): () => void {
  const path = ofAll ? OF_ALL : OWN;

  async function read(): Promise<void> {
    const { output } = await get<{ output: Job[] }>(path, query);
    output.forEach(handlers.job);
    handlers.known();
  }
  return listen(`${path}/live`, query, { job: handlers.job, known: handlers.known }, handlers.problem, read);
}

export const isUnderWay = (job: Job): boolean => job.status !== "done" && job.status !== "failed";

/** Has a model fetched and measured, or a variant of it made. */
export async function requestModel(modelId: string, retry: boolean): Promise<Job> {
  return (await ask<{ job: Job }>("POST", modelPath("/models/v2/request", modelId), { body: { retry } })).job;
}

/** For all accounts that have asked for it. Operators only. */
export const cancelJob = (model: string): Promise<unknown> => ask("DELETE", OF_ALL, { query: { model } });
