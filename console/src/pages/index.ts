// Every page: its place in the hash, what it is called, who sees it. Each is fetched when one first goes there.

import type { Component } from "svelte";

import { messages } from "../messages";

/** What a page is told of where one is: see Place. */
export interface PageProps {
  rest: string;
  query: URLSearchParams;
}

/** Some pages need to know nothing of that. */
export type PageComponent = Component<PageProps> | Component<Record<string, never>>;

export interface Page {
  path: string;
  title: string;
  load: () => Promise<{ default: PageComponent }>;
  adminOnly: boolean;
}

const page = (path: string, title: string, load: Page["load"], adminOnly = false): Page => ({ path, title, load, adminOnly });

/** In the order of the navigation. The first is where one comes in. */
export const pages: readonly Page[] = [
  page("models", messages.models.title, () => import("./models/Models.svelte")),
  page("playground", messages.playground.title, () => import("./playground/Playground.svelte")),
  page("clusters", messages.clusters.title, () => import("./clusters/Clusters.svelte")),
  page("jobs", messages.jobs.title, () => import("./jobs/Jobs.svelte")),
  page("usage", messages.usage.title, () => import("./usage/Usage.svelte")),
  page("keys", messages.keys.title, () => import("./keys/Keys.svelte"), true),
  page("accounts", messages.accounts.title, () => import("./accounts/Accounts.svelte"), true),
  page("aliases", messages.aliases.title, () => import("./aliases/Aliases.svelte"), true),
  page("machines", messages.machines.title, () => import("./machines/Machines.svelte"), true),
];
