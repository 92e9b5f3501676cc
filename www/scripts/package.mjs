// node package.mjs [--out DIR]: builds the npm package `nibblama` from engine/ and states its size.
//
// Every script of the package is one file, and each build of the engine one .wasm file beside it, named by
// `new URL("...", import.meta.url)`: Vite, webpack and plain static servers find them so. For bundlers that do not,
// inline.js holds a worker and one build; it is loaded only when the worker's file is not there.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

const www = fileURLToPath(new URL("..", import.meta.url));
const { values: options } = parseArgs({ options: { out: { type: "string", default: "dist-npm" } } });
const out = resolve(www, options.out);
const engine = join(www, "engine");
const version = /^version = "(.*)"$/m.exec(readFileSync(join(www, "../Cargo.toml"), "utf8"))[1];
const { variants } = JSON.parse(readFileSync(join(engine, "variants.json"), "utf8"));

// Four builds of two modules, and one inside a script; the gate may only be lowered.
const LIMIT = 1_250_000;

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const scripts = readdirSync(engine).filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));
const sources = new Map(scripts.map((name) => [name, readFileSync(join(engine, name), "utf8")]));
/** Scripts that others start as workers. */
const workers = new Set([...sources.values()].flatMap((text) => [...text.matchAll(/new URL\("\.\/([\w-]+)\.ts", import\.meta\.url\)/g)].map((match) => match[1])));
/** What can be imported from the package, by its name there. */
const entries = { ".": "index", "./openai": "openai" };
const present = Object.entries(entries).filter(([, name]) => sources.has(`${name}.ts`));

/** Each build's file gets a name of its own, and workers are scripts, not TypeScript. */
const names = {
  name: "names",
  transform(code, id) {
    const variant = /engine\/pkg\/([\w-]+)\/nibblama\.js$/.exec(id)?.[1];
    if (variant !== undefined) return code.replaceAll("nibblama_bg.wasm", `nibblama-${variant}.wasm`);
    return code.replace(/pkg\/([\w-]+)\/nibblama_bg\.wasm/g, "nibblama-$1.wasm").replace(/pkg\/([\w-]+)\/nibblama_deferred\.wasm/g, "nibblama-$1-deferred.wasm").replace(/new URL\("\.\/([\w-]+)\.ts", import\.meta\.url\)/g, 'new URL("./$1.js", import.meta.url)');
  },
};

async function bundle(name) {
  const build = await rolldown({
    input: join(engine, `${name}.ts`),
    // Errors must be of one class, whichever entry they come through.
    external: (id, importer) => importer !== undefined && (/^\.\/(inline)$/.test(id) || (name !== "index" && !workers.has(name) && id === "./index")),
    plugins: [names],
    platform: "browser",
  });
  const { output } = await build.generate({ format: "esm", codeSplitting: false, minify: true });
  await build.close();
  const code = output[0].code.replace(/(from|import\()\s*(["'`])\.\/(inline|index)\2/g, "$1$2./$3.js$2");
  writeFileSync(join(out, `${name}.js`), code);
}

for (const [, name] of present) await bundle(name);
for (const name of workers) await bundle(name);
for (const { name } of variants) {
  cpSync(join(engine, "pkg", name, "nibblama_bg.wasm"), join(out, `nibblama-${name}.wasm`));
  cpSync(join(engine, "pkg", name, "nibblama_deferred.wasm"), join(out, `nibblama-${name}-deferred.wasm`));
}

const plain = readFileSync(join(engine, "pkg/simd128/nibblama_whole.wasm"));
const inline = { worker: readFileSync(join(out, "worker.js"), "utf8"), wasm: gzipSync(plain, { level: 9 }).toString("base64") };
writeFileSync(join(out, "inline.js"), `const content = ${JSON.stringify(inline)};\nexport async function inline() {\n  return content;\n}\n`);

// Types: those that the entries reach, with the extensions that Node's resolution asks for.
const types = join(out, ".types");
const tsc = join(www, "node_modules/typescript/bin/tsc");
execFileSync(process.execPath, [tsc, "-p", join(www, "tsconfig.json"), "--noEmit", "false", "--declaration", "--emitDeclarationOnly", "--outDir", types, "--rootDir", www], { stdio: "inherit" });
const seen = new Set();
function copyTypes(file) {
  if (seen.has(file)) return;
  seen.add(file);
  const from = join(types, "engine", `${file}.d.ts`);
  const text = readFileSync(from, "utf8").replace(/(from |import\()"\.\/([\w-]+)"/g, (_, start, name) => {
    copyTypes(name);
    return `${start}"./${name}.js"`;
  });
  writeFileSync(join(out, `${file}.d.ts`), text);
}
for (const [, name] of present) copyTypes(name);
rmSync(types, { recursive: true });

const bundled = ["@huggingface/jinja", "@huggingface/tokenizers", "wasm-feature-detect"];
const notices = bundled.map((name) => {
  const folder = join(www, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  const text = file === undefined ? "" : `\n\n${readFileSync(join(folder, file), "utf8").trim()}`;
  return `${name} ${version} (${license})${text}\n`;
});
writeFileSync(join(out, "THIRD-PARTY.txt"), notices.join("\n----\n\n"));
for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) cpSync(join(www, "..", name), join(out, name));
cpSync(join(engine, "README.md"), join(out, "README.md"));

const manifest = {
  name: "nibblama",
  version,
  description: "Llama models in bitsandbytes' 4-bit formats, running in the browser: WebAssembly, no server, no conversion",
  keywords: ["llama", "quantization", "nf4", "bitsandbytes", "wasm", "lora"],
  license: "MIT OR Apache-2.0",
  type: "module",
  sideEffects: false,
  exports: {
    ...Object.fromEntries(present.map(([path, name]) => [path, { types: `./${name}.d.ts`, default: `./${name}.js` }])),
    "./worker.js": "./worker.js",
    "./*.wasm": "./*.wasm",
    "./package.json": "./package.json",
  },
  types: "./index.d.ts",
};
writeFileSync(join(out, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);

const npm = process.platform === "win32" ? "npm.cmd" : "npm";
const [packed] = JSON.parse(execFileSync(npm, ["pack", "--json", "--loglevel=error", "--pack-destination", out], { cwd: out, encoding: "utf8" }));
const largest = packed.files.sort((a, b) => b.size - a.size).slice(0, 5).map(({ path, size }) => `${path} ${size}`);
console.log(`    nibblama ${version}: ${packed.size} bytes packed, ${packed.unpackedSize} unpacked, ${packed.files.length} files; ${largest.join(", ")}`);
if (packed.size > LIMIT) {
  console.error(`the npm package has ${packed.size} bytes, over the limit of ${LIMIT}`);
  process.exit(1);
}
