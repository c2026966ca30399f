import { instructionsWith } from "../cpu/instruction-features.ts";
import { CodePages, MissingPage } from "./code-pages.ts";
import type { CompileMessage, CompileReply } from "./compile-protocol.ts";
import { type CompileRequest, compileRequest } from "./region-compiler.ts";
import { RegionLinks } from "./region-links.ts";
import { regionModule } from "./region-module.ts";
import type { StoredRegion } from "./region-store.ts";

/** Instructions after which a batch is sent: regions of one module call each other directly, but the guest waits for them. */
const BATCH_INSTRUCTIONS = 1500;

/** Compiles regions for several cores: those of each know of each other, and of no others. */
export class CompileServers {
  readonly #now: () => number;
  readonly #servers = new Map<number, CompileServer>();

  /** @param now a clock in ms */
  constructor(now: () => number) {
    this.#now = now;
  }

  receive(message: CompileMessage): void {
    const { core = 0 } = message;
    if (message.isLast) {
      this.#servers.delete(core);
      return;
    }
    let server = this.#servers.get(core);
    if (server === undefined) {
      server = new CompileServer(this.#now);
      this.#servers.set(core, server);
    }
    server.receive(message);
  }

  /** Is there something that could be compiled? */
  get isBusy(): boolean {
    for (const server of this.#servers.values()) if (server.isBusy) return true;
    return false;
  }

  /** Compiles a batch for the core that has waited longest. */
  work(): CompileReply | undefined {
    for (const [core, server] of this.#servers) {
      if (!server.isBusy) continue;
      // Those behind it come first the next time.
      this.#servers.delete(core);
      this.#servers.set(core, server);
      return { ...server.work(), core };
    }
    return undefined;
  }
}

/** Compiles regions for a core that is elsewhere: in another thread, with pages of code and requests by message. */
export class CompileServer {
  readonly #links = new RegionLinks();
  readonly #now: () => number;
  #pages = new CodePages(() => false);
  #queue: CompileRequest[] = [];
  /** Requests that need a page which has been asked for. */
  #waiting: CompileRequest[] = [];

  /** @param now a clock in ms */
  constructor(now: () => number) {
    this.#now = now;
  }

  receive({ begin, forget, pages, requests }: CompileMessage): void {
    if (begin !== undefined) {
      this.#pages = new CodePages(instructionsWith(new Set(begin.features)));
      for (const address of begin.targets) this.#links.callCell(address);
      for (const name of begin.helpers) this.#links.helper(name);
      this.#links.fuses = begin.fuses;
    }
    if (forget === "all") this.#pages.clear();
    else for (const page of forget ?? []) this.#pages.forget(page);
    if (pages !== undefined) {
      for (const page of pages) this.#pages.add(page);
      this.#queue.push(...this.#waiting);
      this.#waiting = [];
    }
    this.#queue.push(...(requests ?? []));
  }

  /** Is there something that could be compiled? */
  get isBusy(): boolean {
    return this.#queue.length > 0;
  }

  /** Compiles what waits, or as much of it as makes a batch. */
  work(): CompileReply {
    const before = this.#now();
    const links = this.#links;
    const [targets, helpers] = [links.targets.length, links.helpers.length];
    const made: { stored: StoredRegion; versions: number[] }[] = [];
    const refused: number[] = [];
    const missing = new Set<number>();
    for (let instructions = 0; instructions < BATCH_INSTRUCTIONS; ) {
      const request = this.#queue.shift();
      if (request === undefined) break;
      try {
        const compiled = compileRequest(request, this.#pages, links);
        if (compiled === undefined) {
          refused.push(request.start);
          continue;
        }
        const { stored } = compiled;
        made.push({ stored, versions: stored.pages.map((page) => this.#pages.version(page)) });
        instructions += stored.instructions;
      } catch (error) {
        if (!(error instanceof MissingPage)) throw error;
        missing.add(error.page);
        this.#waiting.push(request);
      }
    }
    if (this.#waiting.length === 0 && this.#queue.length === 0) this.#pages.age();
    const functions = made.map(({ stored }) => stored.code);
    // Without room behind it: it is kept.
    const bytes = made.length === 0 ? undefined : regionModule(functions, links.helpers).slice();
    return {
      regions: made.map(({ stored: { code, ...region }, versions }) => ({
        ...region,
        versions,
        name: code.name,
        calls: code.calls,
        bytes: code.body.code.length,
      })),
      module: bytes && new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>),
      moduleBytes: bytes,
      targets: links.targets.slice(targets),
      helpers: links.helpers.slice(helpers),
      fuses: links.fuses,
      refused,
      missing: [...missing],
      milliseconds: this.#now() - before,
    };
  }
}
