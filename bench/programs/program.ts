// What a row of the yardstick is: a real program from a public package, and a real job for it.

/** Where a program comes from; versions are exact, so that all get the same one. */
export type Source =
  /** `go install PACKAGE@VERSION` without cgo. */
  | { readonly kind: "go"; readonly package: string; readonly version: string }
  /** A main package of ours, in `drivers/FOLDER`, over modules `PATH@VERSION`: for what is a library, or needs cgo. */
  | { readonly kind: "driver"; readonly folder: string; readonly modules: readonly string[]; readonly cgo?: true }
  /** A file of an npm package, a Python wheel or a Debian package. */
  | {
      readonly kind: "npm" | "pypi" | "debian";
      readonly package: string;
      readonly version: string;
      readonly file: string;
    }
  /** The go command of a Go release, with its tree. */
  | { readonly kind: "toolchain"; readonly version: string };

/** Why a text may differ from run to run, and what is done about it: see `normalisers` in compare.ts. */
export type Normaliser = "times" | "durations" | "hex-ids" | "sizes" | "sorted-lines" | "klog";

/** What a conversation with a server may use. */
export interface Talk {
  /** Ports that are the job's own: `{PORT}` and `{PORT2}` in arguments and files. */
  readonly port: number;
  readonly port2: number;
  /** The job's folder. */
  readonly folder: string;
  /** Aborted when the server has ended: who waits for it then waits in vain. */
  readonly signal: AbortSignal;
  /** The yardstick's programs by name: what runs it in the same way as the server. */
  run(program: string, args: readonly string[]): Promise<string>;
}

/** Runs a program to its end. */
export interface RunStep {
  readonly kind: "run";
  readonly args: readonly string[];
  readonly stdin?: string;
  /** Which of its outputs are compared; both if not given. */
  readonly compare?: "stdout" | "status";
  /** Only lines that match are compared. */
  readonly lines?: RegExp;
}

/** Starts a server, talks to it, and stops it. Its log is kept for whoever looks for a cause, and not compared. */
export interface ServerStep {
  readonly kind: "server";
  readonly args: readonly string[];
  /** What a client sees; it waits itself until the server is there. */
  readonly talk: (talk: Talk) => Promise<string>;
  readonly stop: NodeJS.Signals;
}

/** One thing that happens at a terminal. */
export type Gesture =
  /** Until this is on the screen. */
  | { readonly wait: RegExp }
  /** Until this is on the screen no more. */
  | { readonly gone: RegExp }
  /** Keys as tmux names them. */
  | { readonly keys: readonly string[] }
  /** Text, key by key. */
  | { readonly type: string }
  | { readonly resize: readonly [columns: number, rows: number] }
  /** The screen as it is once it rests, which is compared. */
  | { readonly screen: true };

/** Runs a program in a terminal of 80 by 24, under tmux. It has to end by itself. */
export interface TerminalStep {
  readonly kind: "terminal";
  readonly args: readonly string[];
  /** A file for standard input or output in place of the terminal. */
  readonly stdin?: string;
  readonly stdout?: string;
  readonly script: readonly Gesture[];
}

export type Step = RunStep | ServerStep | TerminalStep;

/** One program with its job. */
export interface Program {
  /** Its name in the folder of programs, and in the table. */
  readonly name: string;
  readonly source: Source;
  /** What it does, for the page: a phrase. */
  readonly job: string;
  /** Other programs of the table that it starts or that the job needs. */
  readonly needs?: readonly string[];
  /** Host tools that preparing needs, such as git. */
  readonly tools?: readonly string[];
  /** Files of the job's folder: path → text. */
  readonly files?: Readonly<Record<string, string>> | (() => Readonly<Record<string, string>>);
  /**
   * Commands that run natively in the folder before any run, which all runs find as they left it. {STORE} is where
   * programs are kept, for what takes long to make.
   */
  readonly prepare?: readonly (readonly string[])[];
  /** The working folder: the job's, or this repository. */
  readonly folder?: "repository";
  readonly env?: Readonly<Record<string, string>>;
  readonly steps: readonly Step[];
  /** Files and folders below the job's folder that are compared at the end. */
  readonly outputs?: readonly string[];
  readonly normalise?: readonly Normaliser[];
  /** An HTTP server on {PORT}, in the yardstick's own process, that answers "ok" to everything. */
  readonly service?: boolean;
  /** Seconds that a run may take; 300 if not given. */
  readonly limit?: number;
  /** What of it cannot be right yet, and which part of Linux that takes; without it, a difference is a bug. */
  readonly left?: string;
}
