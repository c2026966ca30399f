/** How a process ended: its own status, or the signal that killed it. */
export type ExitStatus = { kind: "exited"; status: number } | { kind: "signaled"; signal: number };

/** What a process used (struct rusage): CPU time in µs, largest resident size in KiB. */
export interface Usage {
  readonly userUs: number;
  readonly systemUs: number;
  readonly maxRssKib: number;
}

/** What a descriptor of a new process is made of. */
export type Inheritance =
  /** A descriptor of the host's, by its number there. */
  | { readonly kind: "host"; readonly descriptor: number }
  /** A file that is opened anew. `flags`: O_* */
  | { readonly kind: "open"; readonly path: string; readonly flags: number }
  /** Something that exists only in the machine: bytes go to and fro by a channel. `flags`: the access mode */
  | { readonly kind: "bridge"; readonly flags: number };

export type InheritedDescriptor =
  | ({ readonly fd: number } & Inheritance)
  /** The same open file description as another, lower descriptor. */
  | { readonly fd: number; readonly kind: "same"; readonly as: number };

/** What is to be run. Paths, arguments and environment are byte strings (files/path.ts). */
export interface NewProcess {
  /** By goemu, as this program is; or by the host itself, if it can (`HostProcesses.native`). */
  readonly by: "goemu" | "host";
  /** Absolute path of the executable. */
  readonly file: string;
  /** The path as it was given (AT_EXECFN). */
  readonly name: string;
  readonly argv: readonly string[];
  readonly envp: readonly string[];
  readonly directory: string;
  readonly descriptors: readonly InheritedDescriptor[];
  /** Does it get a process group of its own (setpgid(2), setsid(2))? */
  readonly detached: boolean;
  /** Signals that it ignores, and those that it blocks (bit N-1: signal N). */
  readonly ignored: readonly number[];
  readonly blocked: bigint;
}

/** Our end of a bridged descriptor. */
export interface HostChannel {
  /** Takes bytes; false if no more should come before `drain`. */
  write(bytes: Uint8Array): boolean;
  /** No more bytes will come from us. */
  end(): void;
  /** Holds back, or lets through again, what the process writes. Some bytes may still come after `pause`. */
  pause(): void;
  resume(): void;
  close(): void;
  /** Says who is told of events; `end`: the process has closed its end, or is gone. */
  listen(events: { data(bytes: Uint8Array): void; drain(): void; end(): void }): void;
}

export interface HostChild {
  readonly pid: number;
  /** One for each bridged descriptor. */
  readonly channels: ReadonlyMap<number, HostChannel>;
}

/** Where a guest's child processes run. */
export interface HostProcesses {
  /** Does the host itself run Linux's x86-64 executables? */
  readonly native: boolean;
  /** Is there one that was started and has not ended? */
  readonly running: boolean;
  /**
   * Starts a process. `ended` is called once, later.
   * @throws SyscallError if it can't be started
   */
  spawn(process: NewProcess, ended: (status: ExitStatus, usage: Usage | undefined) => void): HostChild;
  /** kill(2) for processes that `spawn` started; a negative pid names a group. @throws SyscallError ESRCH, EPERM */
  kill(pid: number, signal: number): void;
  /** Lets the host's event loop end although processes run. @returns when what was written to them has gone out */
  close(): void | Promise<void>;
}
