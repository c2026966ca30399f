import { PAGE_SIZE } from "../layout.ts";
import type { BatchRegion, CompileMessage, CompileReply, CompilerThread, PageCopy } from "./compile-protocol.ts";
import type { CompileRequest } from "./region-compiler.ts";
import type { RegionLinks } from "./region-links.ts";

/** Pages of a function that are sent along with the request, at most: more are asked for. */
const PAGES_AT_ONCE = 16;

/** A page of the guest as it is now, without a version; from now on whoever changes its code says so. */
export type PageSource = (page: number) => Omit<PageCopy, "version">;

/** What came of requests. */
export interface Batch {
  /** Regions that may be used: made from the code as it is now, in the order of their functions in the module. */
  readonly regions: readonly (BatchRegion & { readonly isCurrent: boolean })[];
  readonly module: WebAssembly.Module | undefined;
  readonly moduleBytes: Uint8Array | undefined;
  readonly refused: readonly CompileRequest[];
  readonly milliseconds: number;
}

/** Has regions compiled in another thread, and knows which of them still hold when they come back. */
export class CompileClient {
  readonly #thread: CompilerThread;
  readonly #copy: PageSource;
  readonly #links: RegionLinks;
  /** Versions of the executable pages that the thread has. */
  readonly #versions = new Map<number, number>();
  #lastVersion = 0;
  #forget: number[] | "all" = [];
  readonly #pending = new Map<number, CompileRequest>();
  #begin: CompileMessage["begin"];
  /** Why the thread can't go on. */
  failure: string | undefined;

  /**
   * @param features of the CPU, as in /proc/cpuinfo
   * @param links is added to as results come in; nobody else may do so
   */
  constructor(thread: CompilerThread, features: readonly string[], copy: PageSource, links: RegionLinks) {
    this.#thread = thread;
    this.#copy = copy;
    this.#links = links;
    const { targets, helpers, fuses } = links;
    this.#begin = { features, targets: [...targets], helpers: [...helpers], fuses };
  }

  /** Is a region that starts here being compiled? */
  isPending(start: number): boolean {
    return this.#pending.has(start);
  }

  /** Requests without an answer. */
  get pending(): Iterable<CompileRequest> {
    return this.#pending.values();
  }

  /** Asks for a region. */
  request(request: CompileRequest): void {
    this.#pending.set(request.start, request);
    const { start, bounds } = request;
    const pageOf = (address: number): number => Math.floor(address / PAGE_SIZE);
    let [first, last] = [pageOf(start), pageOf(bounds === undefined ? start : bounds.end - 1)];
    if (bounds !== undefined && last - pageOf(bounds.start) < PAGES_AT_ONCE) first = pageOf(bounds.start);
    last = Math.min(last, first + PAGES_AT_ONCE - 1);
    const pages: number[] = [];
    for (let page = first; page <= last; page++) if (!this.#versions.has(page)) pages.push(page);
    this.#post({ requests: [request], pages: pages.map((page) => this.#send(page)) });
  }

  /** The code of a page has changed. */
  invalidate(page: number): void {
    if (this.#versions.delete(page) && this.#forget !== "all") this.#forget.push(page);
  }

  /** From now on nobody says of the pages that were sent when they change. */
  forgetAll(): void {
    this.#versions.clear();
    this.#forget = "all";
  }

  /** What has come back since the last time; undefined if there is nothing, or the thread has failed (`failure`). */
  poll(): Batch | undefined {
    if (this.#pending.size === 0) return undefined;
    const reply = this.#thread.receive();
    this.failure = reply?.failure;
    return reply === undefined || reply.failure !== undefined ? undefined : this.#take(reply);
  }

  /** Nothing is wanted of the thread any more. */
  close(): void {
    this.#thread.close();
  }

  #take({
    regions,
    module,
    moduleBytes,
    targets,
    helpers,
    fuses,
    refused,
    missing,
    milliseconds,
  }: CompileReply): Batch {
    const links = this.#links;
    // Even if nothing is left of the regions: those that follow go on counting from here.
    for (const address of targets) links.callCell(address);
    for (const name of helpers) links.helper(name);
    links.fuses ??= fuses;
    if (missing.length > 0) this.#post({ pages: missing.map((page) => this.#send(page)) });
    return {
      regions: regions.map((region) => ({ ...region, isCurrent: this.#isCurrent(region) })),
      refused: refused.flatMap((start) => this.#answered(start) ?? []),
      module,
      moduleBytes,
      milliseconds,
    };
  }

  #isCurrent({ start, pages, versions }: BatchRegion): boolean {
    this.#answered(start);
    return pages.every((page, i) => this.#versions.get(page) === versions[i]);
  }

  #answered(start: number): CompileRequest | undefined {
    const request = this.#pending.get(start);
    this.#pending.delete(start);
    return request;
  }

  #send(page: number): PageCopy {
    const copy = this.#copy(page);
    if (!copy.isExecutable) return { ...copy, version: 0 };
    const version = this.#versions.get(page) ?? ++this.#lastVersion;
    this.#versions.set(page, version);
    return { ...copy, version };
  }

  #post(message: CompileMessage): void {
    this.#thread.post({ begin: this.#begin, forget: this.#forget, ...message });
    this.#begin = undefined;
    this.#forget = [];
  }
}
