import type { CompileRequest } from "./region-compiler.ts";
import type { CallSite } from "./region-module.ts";

/** What lies in a page of the guest: code that regions are made from, or tables that their jumps read. */
export interface PageCopy {
  readonly page: number;
  /** Another one for other content; 0 where nothing tells when the content changes, of data. */
  readonly version: number;
  readonly isExecutable: boolean;
  readonly isReadable: boolean;
  /** Empty if the page can be neither executed nor read. */
  readonly bytes: Uint8Array;
}

/** To the thread that compiles. All parts may be missing but in effect come one after the other, in this order. */
export interface CompileMessage {
  /** For which core, if there are several (SharedThread): each has its own links and pages. */
  readonly core?: number;
  /** Nothing more comes from that core. */
  readonly isLast?: boolean;
  /** The first message: what is common to all regions. */
  readonly begin?: {
    /** The CPU's, as in /proc/cpuinfo: decides which instructions there are. */
    readonly features: readonly string[];
    /** Links that there are already (RegionLinks), from an earlier run. */
    readonly targets: readonly number[];
    readonly helpers: readonly string[];
    readonly fuses: boolean | undefined;
  };
  /** Pages whose code has changed; "all" if that is no longer known of any. */
  readonly forget?: readonly number[] | "all";
  readonly pages?: readonly PageCopy[];
  readonly requests?: readonly CompileRequest[];
}

/** A region of a batch; its function is in the batch's module, in the same order. */
export interface BatchRegion {
  readonly start: number;
  readonly slot: number;
  readonly entries: readonly number[];
  readonly patient: boolean;
  readonly instructions: number;
  readonly name: string;
  readonly calls: readonly CallSite[];
  /** Size of the function. */
  readonly bytes: number;
  /** Pages it was made from, and their versions. */
  readonly pages: readonly number[];
  readonly spans: readonly number[];
  readonly versions: readonly number[];
}

/** From the thread that compiles. */
export interface CompileReply {
  /** For the core of this number. */
  readonly core?: number;
  /** Why it does nothing any more: the rest is to be done without it. */
  readonly failure?: string;
  /** Regions that were compiled: one module, also as bytes, with a function for each. */
  readonly regions: readonly BatchRegion[];
  readonly module?: WebAssembly.Module;
  readonly moduleBytes?: Uint8Array;
  /** Links that came up, beyond those of the messages before. */
  readonly targets: readonly number[];
  readonly helpers: readonly string[];
  readonly fuses: boolean | undefined;
  /** Where no region can start. */
  readonly refused: readonly number[];
  /** Pages that are needed to go on; they come with the next message. */
  readonly missing: readonly number[];
  readonly milliseconds: number;
}

/** A thread that compiles (CompileServer), as its user sees it. */
export interface CompilerThread {
  post(message: CompileMessage): void;
  /** What it has sent and was not yet received; asked often, and to answer at once. */
  receive(): CompileReply | undefined;
  close(): void;
}
