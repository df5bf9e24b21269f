// Who is signed in, as the console knows it. The cookie that proves it is not readable here.

import { onSignedOut } from "./api/http";
import { beginSession, endSession, readSession, type Session } from "./api/session";
import { takeCode } from "./router.svelte";

class Signed {
  /** Undefined: not known yet; null: nobody. */
  session = $state.raw<Session | null | undefined>(undefined);
  /** Why nobody is, where there is something to say. */
  problem = $state.raw<Error | null>(null);

  get isAdmin(): boolean {
    return this.session?.admin ?? false;
  }

  /** Signs in by the address that one came with, where it has a code; else finds out who is signed in. */
  async restore(): Promise<void> {
    const code = takeCode();
    let refused: Error | null = null;
    if (code !== null) {
      try {
        this.session = await beginSession({ code });
        return;
      } catch (error) {
        refused = error as Error;
      }
    }
    try {
      this.session = await readSession();
      if (this.session === null) this.problem = refused;
    } catch (error) {
      this.session = null;
      this.problem = error as Error;
    }
  }

  async signIn(key: string): Promise<void> {
    this.session = await beginSession({ key });
    this.problem = null;
  }

  async signOut(): Promise<void> {
    await endSession();
    this.problem = null;
    this.session = null;
  }
}

export const signed = new Signed();

onSignedOut.call = (problem) => {
  if (signed.session) {
    signed.session = null;
    signed.problem = problem;
  }
};
