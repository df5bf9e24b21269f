import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const SERVER = process.env.MODELYARD_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: "../src/modelyard/gateway/console/built",
    emptyOutDir: true,
    target: "es2022",
    // The page's Content-Security-Policy takes nothing that is written into it.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // `npx vite` shows the sources as they change, over the API of a server that runs.
  server: { proxy: { "^/(console|models|model|admin|v1|v2|metrics|docs|openapi|readyz|artefacts)": SERVER } },
});
