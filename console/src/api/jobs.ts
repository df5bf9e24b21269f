import { ask, get } from "./http";

export interface Job {
  modelId: string;
  status: "queued" | "downloading" | "inspecting" | "exporting" | "benchmarking" | "done" | "failed";
  message: string;
  attempts: number;
  created: string;
  modified: string;
  startTime: string | null;
  endTime: string | null;
}

interface Answer {
  output: Job[];
}

/** Those of the account's own; for the operator, of all. */
export const listJobs = async (ofAll: boolean): Promise<Job[]> =>
  (await get<Answer>(ofAll ? "/admin/v1/jobs" : "/models/v2/list/jobs", { limit: 200 })).output;

/** For all accounts that have asked for it. Operators only. */
export const cancelJob = (model: string): Promise<unknown> => ask("DELETE", "/admin/v1/jobs", { query: { model } });
