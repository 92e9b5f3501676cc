/**
 * Models of a Hugging Face Hub, or of a mirror that speaks its paths. The Hub's own description of a revision names
 * the commit, the files, their sizes and hashes; everything is then read from that commit and checked.
 */

import { NibblamaError } from "./errors";
import { fetchWhole, RemoteFile, type Network } from "./fetch";
import type { PostedSource } from "./protocol";
import { digest, Sha256 } from "./sha256";
import { ByteReader, damaged, type Source } from "./source";

export const HUB = "https://huggingface.co/";

interface HubFile {
  /** Bytes; null where the Hub does not say. */
  size: number | null;
  /** Of the content, for files in LFS. */
  sha256: string | null;
  /** Git's hash of the file, for the others. */
  blob: string | null;
}

interface Revision {
  commit: string;
  files: Map<string, HubFile>;
}

export class HubSource implements Source {
  readonly #source: Extract<PostedSource, { kind: "hub" }>;
  readonly #network: Network;
  #revision: Promise<Revision | null> | undefined;
  /** Known once the first file was asked for. */
  names: readonly string[] | null = null;

  constructor(source: Extract<PostedSource, { kind: "hub" }>, network: Network) {
    this.#source = source;
    this.#network = network;
  }

  #request(path: string, signal: AbortSignal) {
    const { base, token } = this.#source;
    const headers: Record<string, string> = token === null ? {} : { Authorization: `Bearer ${token}` };
    return { url: new URL(path, base), headers, network: this.#network, signal };
  }

  /** Null where the server has files but no description of them. */
  async #describe(signal: AbortSignal): Promise<Revision | null> {
    const { id, revision } = this.#source;
    const path = `api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
    const answer = await fetchWhole(path, this.#request(path, signal));
    if (answer === null) return null;
    const described = readRevision(answer.bytes);
    if (described === null) {
      throw new NibblamaError("invalid-json", "the Hub's description of the model cannot be read", { file: path });
    }
    this.names = [...described.files.keys()];
    return described;
  }

  async #file(name: string, signal: AbortSignal): Promise<{ path: string; file: HubFile | null } | null> {
    // A failed attempt is not kept: the next file asks again.
    this.#revision ??= this.#describe(signal).catch((error: unknown) => {
      this.#revision = undefined;
      throw error;
    });
    const revision = await this.#revision;
    const file = revision?.files.get(name) ?? null;
    if (revision !== null && file === null) return null;
    const { id } = this.#source;
    return { path: `${id}/resolve/${encodeURIComponent(revision?.commit ?? this.#source.revision)}/${name}`, file };
  }

  async open(name: string, signal: AbortSignal): Promise<ByteReader | null> {
    const found = await this.#file(name, signal);
    if (found === null) return null;
    const remote = await RemoteFile.open(name, this.#request(found.path, signal));
    if (remote === null) return null;
    const { file } = found;
    checkLength(name, file, remote.length);
    const sha256 = file?.sha256 ?? remote.sha256;
    const check = sha256 === null ? null : { hash: new Sha256(), expected: sha256 };
    return new ByteReader(name, remote.length, remote.pieces(0), sha256 ?? remote.validator, check);
  }

  async bytes(name: string, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | null> {
    const found = await this.#file(name, signal);
    if (found === null) return null;
    const answer = await fetchWhole(name, this.#request(found.path, signal));
    if (answer === null) return null;
    checkLength(name, found.file, answer.bytes.length);
    const etag = /^(?:W\/)?"?([0-9a-f]+)"?$/.exec(answer.etag ?? "")?.[1] ?? null;
    const sha256 = found.file?.sha256 ?? (etag?.length === 64 ? etag : null);
    const blob = sha256 === null ? (found.file?.blob ?? (etag?.length === 40 ? etag : null)) : null;
    if (sha256 !== null) {
      const hash = await digest("SHA-256", answer.bytes);
      if (hash !== sha256) throw damaged(name, `SHA-256 ${sha256}`, hash);
    } else if (blob !== null) {
      const hash = await gitHash(answer.bytes);
      if (hash !== blob) throw damaged(name, `git's hash ${blob}`, hash);
    }
    return answer.bytes;
  }
}

function checkLength(name: string, file: HubFile | null, length: number | null): void {
  if (file === null || file.size === null || length === null || file.size === length) return;
  throw new NibblamaError("truncated-file", "the file has another length than the Hub says", {
    file: name,
    expected: `${file.size} bytes`,
    found: `${length} bytes`,
  });
}

/** Git hashes a file together with its length. */
async function gitHash(bytes: Uint8Array): Promise<string> {
  const header = new TextEncoder().encode(`blob ${bytes.length}\0`);
  const whole = new Uint8Array(header.length + bytes.length);
  whole.set(header);
  whole.set(bytes, header.length);
  return digest("SHA-1", whole);
}

function readRevision(bytes: Uint8Array): Revision | null {
  interface Sibling {
    rfilename?: unknown;
    size?: unknown;
    blobId?: unknown;
    lfs?: { sha256?: unknown } | null;
  }
  let value: { sha?: unknown; siblings?: unknown } | null;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes)) as typeof value;
  } catch {
    return null;
  }
  const hex = (text: unknown, length: number) =>
    typeof text === "string" && text.length === length && /^[0-9a-f]+$/.test(text) ? text : null;
  const commit = hex(value?.sha, 40);
  if (commit === null || !Array.isArray(value?.siblings)) return null;
  const files = new Map<string, HubFile>();
  for (const sibling of value.siblings as Sibling[]) {
    if (typeof sibling.rfilename !== "string") return null;
    files.set(sibling.rfilename, {
      size: typeof sibling.size === "number" ? sibling.size : null,
      sha256: hex(sibling.lfs?.sha256, 64),
      blob: sibling.lfs == null ? hex(sibling.blobId, 40) : null,
    });
  }
  return { commit, files };
}
