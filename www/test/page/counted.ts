/** A copy of the site behind a server that counts what it sends, and that can be unplugged. */

import { spawn, type ChildProcess } from "node:child_process";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { createServer, request as ask, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SITES } from "../sites";

const PORT = SITES.site.port + 6;
const BEHIND = PORT + 1;

export class CountedSite {
  readonly home = `http://127.0.0.1:${PORT}/`;
  readonly folder: string;
  /** Bytes of content sent, by path. */
  readonly sent = new Map<string, number>();
  #server: ChildProcess | undefined;
  #front: Server | undefined;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async open(): Promise<CountedSite> {
    const site = new CountedSite(await mkdtemp(join(tmpdir(), "nibblama-")));
    await cp("dist", site.folder, { recursive: true });
    await site.plugIn();
    return site;
  }

  /** The site's own server, and in front of it one that counts. */
  async plugIn(): Promise<void> {
    const server = (this.#server = spawn("node", ["server.mjs", "--root", this.folder, "--port", String(BEHIND)], { stdio: "pipe" }));
    await new Promise((resolve) => server.stdout.once("data", resolve));
    const front = (this.#front = createServer((request, response) => {
      const { url = "/", headers } = request;
      const passed = ask({ port: BEHIND, path: url, headers: { ...headers, "accept-encoding": "identity" } }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.on("data", (piece: Buffer) => this.sent.set(url, (this.sent.get(url) ?? 0) + piece.length));
        answer.pipe(response);
      });
      passed.on("error", () => response.destroy());
      response.on("close", () => passed.destroy());
      passed.end();
    }));
    await new Promise<void>((resolve) => front.listen(PORT, "127.0.0.1", resolve));
  }

  async unplug(): Promise<void> {
    const [server, front] = [this.#server, this.#front];
    if (server === undefined || front === undefined) return;
    this.#server = this.#front = undefined;
    const gone = new Promise((resolve) => server.once("exit", resolve));
    server.kill();
    await gone;
    front.closeAllConnections();
    await new Promise((resolve) => front.close(resolve));
  }

  async close(): Promise<void> {
    await this.unplug();
    await rm(this.folder, { recursive: true, force: true });
  }
}
