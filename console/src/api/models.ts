import { get, type Listed } from "./http";

export interface Benchmark {
  loadTime: number;
  latency: Record<string, number>;
  largest: string;
  requestsPerSecond: number;
  requestsPerSecondBatched: number;
  batch: number;
  ram: number | null;
  ramOneByOne: number | null;
  tokensPerSecond: number | null;
  firstToken: number | null;
  streams: boolean;
  notes: string[];
}

export const RUNTIMES = ["transformers", "diffusers", "onnx", "openvino", "gguf", "static"] as const;

/** As the lists have it; sizes are in GB, prices in US dollars. */
export interface Model {
  modelId: string;
  task: string | null;
  /** Billions. */
  params: number | null;
  ramRequired: number | null;
  memorySource: "measured" | "estimated" | "published" | null;
  meter: string | null;
  meterPrice: number | null;
  benchmark: Benchmark | null;
  architecture: string | null;
  runtime: (typeof RUNTIMES)[number] | null;
  source: "folder" | "hub" | "published" | "requested" | "variant" | "provider";
  revision: string | null;
  license: string | null;
  variants: string[];
  variantOf: string | null;
  quality: Record<string, number> | null;
  warning: string | null;
  servedForm: { variant: string | null; why: string } | null;
  aliasOf: string | null;
  adapter: { base: string; type: string; rank: number | null; targetModules: string[] } | null;
  files: string[];
  provider: string | null;
  contextLength: number | null;
  prices: Record<string, number> | null;
  error: string | null;
}

/** What a list is narrowed by; an empty text: by nothing. */
export interface ModelFilter {
  search: string;
  task: string;
  license: string;
  runtime: string;
  /** GB. */
  maxRam: string;
}

/** A place in the list of models: those that are here come first, then the others, both by id. */
export interface ListPlace {
  here: boolean;
  after?: string;
}

export const LIST_BEGIN: ListPlace = { here: true };

/** A page of models, and where the next one begins; null: it was the last. */
export async function listModels(
  filter: ModelFilter,
  from: ListPlace,
  limit: number,
  signal: AbortSignal,
): Promise<{ models: Model[]; next: ListPlace | null }> {
  const page: Listed<Model> = await get("/models/v2/list/models", { ...filter, ...from, limit }, signal);
  if (page.next !== undefined) return { models: page.output, next: { here: from.here, after: page.next } };
  return { models: page.output, next: from.here ? { here: false } : null };
}

/** The one model, wherever it is; null where there is none. */
export async function findModel(modelId: string): Promise<Model | null> {
  const found: Listed<Model> = await get("/models/v2/list/models", { modelId });
  return found.output[0] ?? null;
}

export const listTasks = async (): Promise<string[]> => (await get<Listed<string>>("/models/v2/list/tasks")).output;
