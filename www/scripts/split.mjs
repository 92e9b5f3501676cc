// Divides a build in two. The first module holds what loads a model and writes text. The second holds what only the
// exports below reach, and is fetched when one of them is wanted: started with the first one's exports, it puts its
// functions into the first one's table, and there the stubs that the first has in their place find them. Until then a
// call of such a stub is a trap.

/** Exports whose code is deferred; www/engine waits for it before it calls them. */
export const DEFERRED = [
  /^(bench|lab|lens|quantized)_/,
  /^__wbg_(bench|lab|lens|quantized)_free$/,
  /^(codebook|compareLogits)$/,
  /^loader_(addStored|lab|quantizedForm)$/,
  /^model_(exportModule|fingerprint|hiddenSum|layers|loadAdapter|restoreLayer|restored|saveLayer|score|storedTensors|tensors)$/,
];

/**
 * Code that the first module calls, and yet is deferred, as www/engine waits for it where models have that: LLM.int8, adapters,
 * and regular expressions in the names of modules. Only from `from`, as compilers merge functions that look alike, whoever
 * calls them; and not the kernels that threads run, which have the first module alone.
 */
const CUT = [
  { code: /^<nibblama::quant::int8::\w+>::|^nibblama::kernels::linear_int8(?:_each)?$/, from: /nibblama::(model::linear|quant::bnb|wasm::parity)::/ },
  { code: /^nibblama::model::linear::add_lora$/, from: /nibblama::model::(linear|llama)::/ },
  { code: /^<regex_lite::/, from: /nibblama::quant::config::/ },
];
/** What threads may run, of the functions that are called through the table. */
const JOBS = /nibblama::kernels::.*\{closure#\d+\}/;

/** Functions that are called through the table, by deferred code alone. */
const DEFERRED_TABLE = [/regex_lite::/, /::wasm::views::/, /::model::lens::/];

const NAME = String.raw`\$(?:"(?:[^"\\]|\\.)*"|[^\s()]+)`;
const matchesAny = (patterns, text) => patterns.some((pattern) => pattern.test(text));
/** A name as the crate's sources would write it. */
const plain = (name) => name.replace(/^\$"?|"$/g, "").replace(/\[[0-9a-f]+\]/g, "");
const cutOf = (name) => CUT.find(({ code }) => code.test(plain(name)));

/** The items of a module's text, each with its kind and name. */
function parse(text) {
  const items = [];
  for (const line of text.split("\n").slice(1, -1)) {
    if (/^ ;;|^\)/.test(line)) continue;
    if (/^ \(/.test(line)) items.push(line);
    else items[items.length - 1] += `\n${line}`;
  }
  return items.map((text) => {
    const imported = /^ \(import /.test(text);
    const [, kind, name] = new RegExp(imported ? ` \\((func|global|memory|table) (${NAME})` : `^ \\((\\w+) ?(${NAME})?`).exec(text);
    return { text, kind, name, imported };
  });
}

/** Slots of the function table, from the segments that fill it. */
function slots(items) {
  const table = [];
  for (const { text } of items.filter(({ kind }) => kind === "elem")) {
    const [, start, functions] = /\(i32\.const (\d+)\)(?: func)?([^]*)\)$/.exec(text) ?? [];
    if (start === undefined) throw new Error(`cannot read ${text.slice(0, 100)}`);
    [...functions.matchAll(new RegExp(NAME, "g"))].forEach(([name], i) => (table[Number(start) + i] = name));
  }
  return table;
}

/** The segments that fill `table` with these functions, and leave its holes. */
function segments(name, table) {
  const runs = [];
  table.forEach((entry, slot) => {
    const last = runs.at(-1);
    if (last !== undefined && last.start + last.entries.length === slot) last.entries.push(entry);
    else runs.push({ start: slot, entries: [entry] });
  });
  return runs.map(({ start, entries }) => ` (elem (table ${name}) (i32.const ${start}) func ${entries.join(" ")})`);
}

/** The text of a build, with its names, as the texts of two modules. */
export function split(text) {
  const items = parse(text);
  const ofKind = (wanted) => items.filter(({ kind, imported }) => kind === wanted && !imported);
  const functions = new Map(ofKind("func").map(({ name, text }) => [name, text]));
  const exported = ofKind("export").map(({ text }) => {
    const [, name, kind, target] = new RegExp(`"((?:[^"\\\\]|\\\\.)*)" \\((\\w+) (${NAME})`).exec(text);
    return { name, kind, target };
  });
  const table = slots(items);

  const kept = reach(functions, [
    ...exported.filter(({ kind, name }) => kind === "func" && !matchesAny(DEFERRED, name)).map(({ target }) => target),
    ...table.filter((name) => name !== undefined && !matchesAny(DEFERRED_TABLE, plain(name))),
    ...ofKind("start").map(({ name }) => name),
  ]);
  const moved = new Set([...functions.keys()].filter((name) => !kept.has(name)));
  checkCuts(functions, kept, moved, table);

  // Each moved function that the first module names gets a slot at the end of the table, and a stub that calls it there.
  const [functionTable] = ofKind("table").filter(({ text }) => SIZE.test(text));
  const size = Number(SIZE.exec(functionTable.text)[1]);
  const named = new Set([...kept].flatMap((name) => calls(functions, name)).concat(exported.map(({ target }) => target)));
  const stubbed = [...moved].filter((name) => named.has(name));
  const stubs = stubbed.map((name, i) => stub(name, signature(functions, name), functionTable.name, size + i));
  const grown = functionTable.text.replace(SIZE, ` ${size + stubs.length} ${size + stubs.length} funcref)`);
  const [remaining, filled] = [[], []];
  table.forEach((name, slot) => ((moved.has(name) ? filled : remaining)[slot] = name));
  stubbed.forEach((name, i) => (filled[size + i] = name));

  // What the second module takes from the first.
  const movedText = [...moved].map((name) => functions.get(name)).join("\n");
  const used = new Set([...movedText.matchAll(USES)].map(([, name]) => name));
  const [memory] = items.filter(({ kind }) => kind === "memory");
  used.add(functionTable.name).add(memory.name);
  const shared = items.filter(({ kind, name }) => SHARED.has(kind) && !moved.has(name) && used.has(name));
  const link = shared.map(({ kind, name }, i) => ` (export "${i}" (${kind} ${name}))`);
  const imports = shared.map((item, i) => ` (import "first" "${i}" ${item === functionTable ? grown.trim() : importType(item)})`);

  const first = items.filter((item) => item.kind !== "elem" && !moved.has(item.name) && item !== functionTable);
  const module = (parts) => ["(module", ...parts, ")"].join("\n");
  return {
    first: module([...first.map(({ text }) => text), grown, ...segments(functionTable.name, remaining), ...stubs, ...link]),
    second: module([...ofKind("type").map(({ text }) => text), ...imports, ...segments(functionTable.name, filled), movedText]),
  };
}

/** Limits of the function table. */
const SIZE = / (\d+) \d+ funcref\)/;
const SHARED = new Set(["func", "global", "table", "memory"]);
/** Names in a function's body of what is outside it. */
const USES = new RegExp(String.raw`\b(?:call|return_call|ref\.func|(?:global|table)\.\w+|call_indirect|memory\.\w+) (${NAME})`, "g");

function calls(functions, name) {
  return [...functions.get(name).matchAll(new RegExp(`\\((?:return_call|call|ref\\.func) (${NAME})`, "g"))].map(([, callee]) => callee);
}

/** What is within reach of the functions `roots`, except through cuts. */
function reach(functions, roots) {
  const reached = new Set();
  const waiting = [...roots];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (reached.has(name) || !functions.has(name)) continue;
    reached.add(name);
    waiting.push(...calls(functions, name).filter((callee) => !cutOf(callee)));
  }
  return reached;
}

/** Throws where what stays calls what moves, other than as `CUT` has it. */
function checkCuts(functions, kept, moved, table) {
  const jobs = reach(functions, table.filter((name) => name !== undefined && JOBS.test(plain(name))));
  if (jobs.size === 0) throw new Error("no function looks like a job of threads");
  for (const caller of kept) {
    for (const callee of calls(functions, caller)) {
      if (moved.has(callee) && (jobs.has(caller) || !cutOf(callee).from.test(plain(caller)))) {
        throw new Error(`${plain(caller)} calls ${plain(callee)}, which is deferred`);
      }
    }
  }
}

/** Parameters and results of a function, as its definition has them. */
function signature(functions, name) {
  const [header] = /^(?: \((?:type|param|result)[^()]*\))*/.exec(functions.get(name).slice(` (func ${name}`.length));
  return header.replace(/ \(type \S+\)/, "");
}

function stub(name, header, table, slot) {
  const parameters = [...header.matchAll(new RegExp(`\\(param (${NAME})`, "g"))].map(([, parameter]) => ` (local.get ${parameter})`);
  const type = header.replace(new RegExp(`(?<=\\(param )${NAME} `, "g"), "");
  return ` (func ${name}${header} (call_indirect ${table}${type}${parameters.join("")} (i32.const ${slot})))`;
}

/** An item of the first module as the second imports it. */
function importType({ text, kind, name, imported }) {
  if (imported) return new RegExp(` (\\(${kind} .*\\))\\)$`).exec(text)[1];
  if (kind === "func") return `(func ${name}${signature(new Map([[name, text]]), name)})`;
  if (kind === "global") return `${new RegExp(`^ (\\(global .{${name.length}} (?:\\(mut \\w+\\)|\\w+))`).exec(text)[1]})`;
  return text.trim();
}
