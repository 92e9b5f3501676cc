import { cpSync, createReadStream, existsSync, readdirSync, statSync } from "node:fs";
import { join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import headers from "./headers.json" with { type: "json" };

const www = fileURLToPath(new URL(".", import.meta.url));
const models = join(www, "..", "models");

/** The folders under `models/` that hold a model: they, and nothing else there, are part of the site. */
function modelFolders(): string[] {
  if (!existsSync(models)) return [];
  return readdirSync(models).filter((name) => existsSync(join(models, name, "config.json")));
}

/** Serves `models/` in development and copies it into the built site. */
function embeddedModels(): Plugin {
  let outDir = "";
  return {
    name: "embedded-models",
    configResolved(config) {
      outDir = join(config.root, config.build.outDir);
    },
    configureServer(server) {
      server.middlewares.use("/models", (request, response, next) => {
        const path = normalize(decodeURIComponent((request.url ?? "/").split("?")[0] ?? "/"));
        const folder = path.split("/")[1] ?? "";
        const file = join(models, path);
        if (!modelFolders().includes(folder) || !existsSync(file) || !statSync(file).isFile()) return next();
        response.setHeader("Content-Length", statSync(file).size);
        response.setHeader("Content-Type", file.endsWith(".json") ? "application/json" : "application/octet-stream");
        createReadStream(file).pipe(response);
      });
    },
    closeBundle() {
      for (const name of modelFolders()) {
        cpSync(join(models, name), join(outDir, "models", name), { recursive: true });
      }
    },
  };
}

// The engine's own browser tests need a page without the site's views; it is built like the site, beside it.
const harness = process.env["NIBBLAMA_HARNESS"] === "1";

export default defineConfig({
  root: www,
  base: "./",
  plugins: [embeddedModels()],
  worker: { format: "es" },
  build: {
    target: "es2022",
    outDir: harness ? "dist-test" : "dist",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    ...(harness ? { rolldownOptions: { input: join(www, "test/engine/harness.html") } } : {}),
  },
  server: {
    host: "127.0.0.1",
    headers: { ...headers.isolation, ...headers.always, "Content-Security-Policy": headers.developmentPolicy },
  },
  preview: { host: "127.0.0.1", headers: { ...headers.isolation, ...headers.always } },
});
