import { createHash } from "node:crypto";
import { cpSync, createReadStream, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, normalize, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { minify } from "terser";
import { defineConfig, type Plugin, type UserConfig } from "vite";
import headers from "./headers.json" with { type: "json" };

const www = fileURLToPath(new URL(".", import.meta.url));
const models = join(www, "..", "models");

/** The folders under `models/` that are part of the site: each model, each adapter and the held-out text. */
function modelFolders(): string[] {
  const holding = (folder: string, file: string) =>
    !existsSync(join(models, folder))
      ? []
      : readdirSync(join(models, folder))
          .map((name) => (folder === "" ? name : `${folder}/${name}`))
          .filter((name) => existsSync(join(models, name, file)));
  const texts = existsSync(join(models, "eval", "stories.txt")) ? ["eval"] : [];
  return [...holding("", "config.json"), ...holding("adapters", "adapter_config.json"), ...texts];
}

/** Serves `models/` in development and copies it into the built site. */
function embeddedModels(): Plugin {
  let outDir = "";
  return {
    name: "embedded-models",
    configResolved(config) {
      outDir = resolve(config.root, config.build.outDir);
    },
    configureServer(server) {
      server.middlewares.use("/models", (request, response, next) => {
        const path = normalize(decodeURIComponent((request.url ?? "/").split("?")[0] ?? "/"));
        const folder = path.split("/").slice(1, -1).join("/");
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

/** Tells the service worker what this build consists of: its list changes with every file, and so does its hash. */
function offline(): Plugin {
  const hashOf = (parts: readonly (string | Uint8Array)[]) => {
    const hash = createHash("sha256");
    for (const part of parts) hash.update(part);
    return hash.digest("hex").slice(0, 16);
  };
  return {
    name: "offline",
    // After Vite has written index.html into the bundle.
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const sw = bundle["sw.js"];
        if (sw?.type !== "chunk") return;
        // Who measures is on the network, and few do.
        const kept = (name: string) => !name.endsWith(".map") && name !== "bench.html" && !name.startsWith("assets/measure");
        const files = Object.values(bundle).filter((file) => file !== sw && kept(file.fileName));
        const folder = join(www, "public");
        const extra = readdirSync(folder);
        const names = files.map((file) => file.fileName).sort();
        const contents = files.map((file) => (file.type === "chunk" ? file.code : file.source));
        const data = modelFolders()
          .flatMap((name) => readdirSync(join(models, name)).map((file) => `${name}/${file}`))
          .filter((path) => !path.endsWith(".md"));
        const size = (path: string) => statSync(join(models, path)).size;
        const precache = {
          build: hashOf([...contents, ...extra.map((name) => readFileSync(join(folder, name)))]),
          data: hashOf(data.map((path) => readFileSync(join(models, path)))),
          page: [...names.filter((name) => !name.endsWith(".wasm")), ...extra],
          engine: names.filter((name) => name.endsWith(".wasm")),
          // The largest last: all others are there soon.
          models: data.sort((a, b) => size(a) - size(b)).map((path) => `models/${path}`),
        };
        sw.code = `const __PRECACHE__=${JSON.stringify(precache)};${sw.code}`;
      },
    },
  };
}

/** Elements as calls of `h`, whose children are arguments: shorter than properties, and nothing else is needed. */
function shortElements(): Plugin {
  return {
    name: "short-elements",
    enforce: "pre",
    transform: (code, id) => (id.endsWith(".tsx") ? `import { h, Fragment } from "preact";${code}` : null),
  };
}

/** Vite's way of loading the styles and imports of a chunk ahead; here all styles come first, and chunks are few. */
function noPreload(): Plugin {
  return {
    name: "no-preload",
    enforce: "pre",
    load: (id) => (id === "\0vite/preload-helper.js" ? "export const __vitePreload = (load) => load();" : null),
  };
}

/** Gzipped, what terser makes of the minifier's output is often smaller; what is not stays. */
function smaller(): Plugin {
  const size = (code: string) => gzipSync(code, { level: 9 }).length;
  return {
    name: "smaller",
    apply: "build",
    // wasm-bindgen's remarks on old ways of calling, which nobody here goes, and on a server's missing MIME type, which only costs time.
    transform: (code, id) => (/pkg\/[\w-]+\/nibblama\.js$/.test(id) ? code.replace(/console\.warn\([^\n]*/g, "") : null),
    // After Vite has minified; a name's hash is that of what came before, which says the same.
    async generateBundle(_, bundle) {
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== "chunk") continue;
        const { code: before } = chunk;
        for (const compress of [false, { passes: 3, reduce_vars: false, collapse_vars: false, evaluate: false }]) {
          const { code = before } = await minify(before, { module: true, ecma: 2020, compress });
          if (size(code) < size(chunk.code)) chunk.code = code;
        }
      }
    },
  };
}

/** Few scripts, as many small ones compress worse: the page with its first view, the other views, all Korean. */
const SCRIPTS = [
  { name: "ko", test: /\.ko\.ts$/ },
  { name: "views", test: /www\/(views\/(?!index\.|bench\.|merge\.|view\.|question\.|words\.|(words\/)?headline\.)|app\/lab\.|engine\/lab)/ },
  { name: "page", test: /www\/(app\/(?!sw\.)|draw\/|engine\/(?!export)|views\/(?!bench|merge\.))|node_modules\/(@?preact|wasm-feature-detect)\/|preload-helper/ },
];

/** Parts of the worker for models that a visitor brings. */
const RARE = [
  { name: "templates", test: /@huggingface\/jinja/ },
  { name: "hub", test: /engine\/(hub|sha256|store)\./ },
];

// The engine's own browser tests need a page without the site's views; it is built like the site, beside it.
const harness = process.env["NIBBLAMA_HARNESS"] === "1";
const harnesses = () =>
  ["engine", "lab"].map((name) => join(www, `test/${name}/harness.html`)).filter((page) => existsSync(page));

type Entries = NonNullable<NonNullable<UserConfig["build"]>["rolldownOptions"]>;

// Modules of the engine only define things; who imports one of its functions does not want them all.
const treeshake: Entries["treeshake"] = { moduleSideEffects: (id) => !id.startsWith(join(www, "engine")) };

const site: Entries = {
  treeshake,
  input: { index: join(www, "index.html"), sw: join(www, "app/sw.ts") },
  output: {
    // The service worker keeps its name, and stands at the root of what it serves.
    entryFileNames: ({ name }) => (name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
    codeSplitting: { includeDependenciesRecursively: false, groups: SCRIPTS },
  },
};

/** The page that measures a device: `vite build --mode bench` after the site, so that the site's first page shares no piece with it. */
const bench: Entries = {
  treeshake,
  input: { measure: join(www, "bench.html") },
  output: { entryFileNames: "assets/measure-[hash].js", chunkFileNames: "assets/measure-[name]-[hash].js" },
};

export default defineConfig(({ mode }) => ({
  root: www,
  base: "./",
  plugins: [noPreload(), shortElements(), smaller(), ...(mode === "bench" ? [] : [embeddedModels(), ...(harness ? [] : [offline()])])],
  oxc: { jsx: { runtime: "classic", pragma: "h", pragmaFrag: "Fragment" } },
  worker: { format: "es", plugins: () => [smaller()], rolldownOptions: { output: { codeSplitting: { includeDependenciesRecursively: false, groups: RARE } } } },
  build: {
    target: "es2022",
    outDir: harness ? "dist-test" : "dist",
    emptyOutDir: mode !== "bench",
    assetsInlineLimit: 0,
    modulePreload: false,
    cssCodeSplit: false,
    rolldownOptions: harness ? { input: harnesses() } : mode === "bench" ? bench : site,
  },
  server: {
    host: "127.0.0.1",
    headers: { ...headers.isolation, ...headers.always, "Content-Security-Policy": headers.developmentPolicy },
  },
  preview: { host: "127.0.0.1", headers: { ...headers.isolation, ...headers.always } },
}));
