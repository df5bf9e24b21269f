// Running a model, and what a run took.

import { get, modelPath, send, type Listed } from "./http";

/** What one request took, as the server has metered it. */
export interface Taken {
  /** Seconds an instance worked on it. */
  time: number;
  /** US dollars for that time. */
  cost: number;
  promptTokens: number | null;
  newTokens: number | null;
}

/** What a request waits for. */
export interface Waiting {
  status: string;
  /** The newest line of the cluster's log. */
  event: string | null;
}

/** The answer, not read yet. Raises ApiProblem. */
export const infer = (modelId: string, body: unknown, signal: AbortSignal): Promise<Response> =>
  send("POST", modelPath("/models/v2", modelId), { body, signal });

/** Raises ApiProblem for a request that has not reached an instance. */
export const readTaken = async (requestId: string): Promise<Taken> =>
  (await get<{ output: Taken }>(`/models/v2/usage/${encodeURIComponent(requestId)}`)).output;

/** The models that have a cluster. */
export const readClusters = async (signal: AbortSignal): Promise<string[]> =>
  (await get<Listed<{ modelId: string }>>("/models/v2/list/clusters", {}, signal)).output.map((each) => each.modelId);

/** Raises ApiProblem where the model has no cluster. */
export async function readWaiting(modelId: string, signal: AbortSignal): Promise<Waiting> {
  const path = modelPath("/models/v2", modelId);
  const answer = await get<{ output: { status: string; events?: { message: string }[] } }>(path, { events: 1 }, signal);
  return { status: answer.output.status, event: answer.output.events?.at(-1)?.message ?? null };
}
