// Every page: its place in the hash, what it is called, who sees it. Each is fetched when one first goes there.

import type { Component } from "svelte";

import { messages } from "../messages";

/** What a page is told of where one is: see Place. */
export interface PageProps {
  rest: string;
  query: URLSearchParams;
}

export interface Page {
  path: string;
  title: string;
  load: () => Promise<{ default: Component<PageProps> }>;
  adminOnly: boolean;
}

const page = (path: string, title: string, load: Page["load"], adminOnly = false): Page => ({ path, title, load, adminOnly });

/** In the order of the navigation. The first is where one comes in. */
export const pages: readonly Page[] = [
  page("models", messages.models.title, () => import("./models/Models.svelte")),
];
