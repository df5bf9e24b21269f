// The operator's calls: accounts, keys, aliases. Limits that are null do not exist; money is text, so that it stays exact.

import { ask, getAll } from "./http";

const ROOT = "/admin/v1";

export interface Account {
  id: string;
  name: string;
  created: string;
  keys: number;
  maxInstances: number | null;
  maxMemoryBytes: number | null;
  maxConcurrent: number | null;
  maxModels: number | null;
  maxDiskBytes: number | null;
  weight: number | null;
  monthlyLimitUsd: string | null;
  creditUsd: string | null;
}

export type Limits = Pick<
  Account,
  "maxInstances" | "maxMemoryBytes" | "maxConcurrent" | "maxModels" | "maxDiskBytes" | "weight" | "monthlyLimitUsd"
>;

export interface Key {
  id: string;
  account: string;
  name: string;
  prefix: string;
  created: string;
  revoked: string | null;
  /** Inferences a minute; 0: as many as it likes; null: as the server's settings say. */
  rateLimit: number | null;
}

export interface Capacity {
  min: number | null;
  desired: number | null;
  max: number | null;
}

export interface Alias {
  account: string;
  name: string;
  model: string;
  task: string | null;
  capacity: Capacity | null;
  created: string;
  modified: string;
}

const one = (noun: string, name: string, below = ""): string => `${ROOT}/${noun}/${encodeURIComponent(name)}${below}`;

export const listAccounts = (): Promise<Account[]> => getAll(`${ROOT}/accounts`);
export const createAccount = (name: string): Promise<unknown> => ask("POST", `${ROOT}/accounts`, { body: { name } });
export const setLimits = (account: string, limits: Partial<Limits>): Promise<unknown> =>
  ask("PATCH", one("accounts", account, "/limits"), { body: limits });
export const addCredit = (account: string, usd: string): Promise<unknown> => ask("POST", one("accounts", account, "/credit"), { body: { usd } });

export const listKeys = (): Promise<Key[]> => getAll(`${ROOT}/keys`);
export async function createKey(name: string, account: string, rateLimit: number | null): Promise<Key & { secret: string }> {
  return (await ask<{ output: Key & { secret: string } }>("POST", `${ROOT}/keys`, { body: { name, account, rateLimit } })).output;
}
export const setRateLimit = (id: string, rateLimit: number | null): Promise<unknown> => ask("PATCH", one("keys", id), { body: { rateLimit } });
export const revokeKey = (id: string): Promise<unknown> => ask("DELETE", one("keys", id));

export const listAliases = (): Promise<Alias[]> => getAll(`${ROOT}/aliases`);
export const setAlias = (alias: Pick<Alias, "account" | "name" | "model" | "task" | "capacity">): Promise<unknown> =>
  ask("PUT", `${ROOT}/aliases`, { body: alias });
export const removeAlias = (account: string, name: string): Promise<unknown> => ask("DELETE", `${ROOT}/aliases`, { query: { account, name } });
