import { ask, get } from "./http";

/** Who is signed in. */
export interface Session {
  account: string;
  /** Whether it may use the admin API. */
  admin: boolean;
  keyId: string;
  keyName: string;
  /** When one has to sign in again, ISO 8601; null where a key was sent. */
  expires: string | null;
}

const PATH = "/console/session";

/** Null: nobody is signed in. */
export const readSession = async (): Promise<Session | null> => (await get<{ output: Session | null }>(PATH)).output;

/** `code`: what a command on the server's machine has given the browser, good once. */
export const beginSession = async (shown: { key: string } | { code: string }): Promise<Session> =>
  (await ask<{ output: Session }>("POST", PATH, { body: shown })).output;

export const endSession = (): Promise<unknown> => ask("DELETE", PATH);
