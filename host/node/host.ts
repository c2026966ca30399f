import { randomFillSync } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import { getHeapStatistics } from "node:v8";
import { SyscallError } from "../../syscalls/abi/errno.ts";
import { O_RDONLY, O_RDWR, O_WRONLY } from "../../syscalls/abi/fcntl.ts";
import { type FileStat, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK } from "../../syscalls/abi/stat.ts";
import { textToPath } from "../../syscalls/files/path.ts";
import type { Host, HostFile, HostFileSystem, HostInput, HostOutput, InheritedStream } from "../host.ts";
import type { HostProcesses } from "../processes.ts";
import { SysrootFiles } from "../sysroot.ts";
import type { HostJob, HostTerminal } from "../terminal.ts";
import { asSyscallError, attempt } from "./errors.ts";
import { fromNodeStat, inheritedState, NodeFile, NodeFileSystem } from "./files.ts";
import { NodeLocks } from "./locks.ts";
import { NodeNetwork } from "./network.ts";
import { PullReader } from "./reader.ts";
import { isTerminal } from "./terminal.ts";
import { currentJob, terminals } from "./terminals.ts";

/** The part of JavaScript's heap up to which there is room for more processes. */
const MOST_HEAP = 0.7;

/** One of Node's own three streams, or another that it was started with, used by descriptor, past Node's buffering. */
export class NodeStdio implements HostInput, HostOutput {
  readonly #fd: number;
  /** The access mode, where the guest is to take it for one end of a pipe. */
  readonly #pipe: number | undefined;
  readonly terminal: HostTerminal | undefined;
  readonly flags: number;
  readonly file: HostFile | undefined;
  #reader: PullReader | undefined;

  constructor(fd: number, pipe?: number) {
    this.#fd = fd;
    this.#pipe = pipe;
    this.terminal = isTerminal(fd) ? terminals.of(fd) : undefined;
    const inherited = inheritedState(fd);
    this.flags = pipe ?? inherited?.flags ?? (this.terminal ? O_RDWR : fd === 0 ? O_RDONLY : O_WRONLY);
    const regular = (this.stat().mode & S_IFMT) === S_IFREG;
    this.file = regular ? new NodeFile(fd, this.path, inherited?.offset ?? 0) : undefined;
  }

  get descriptor(): number {
    return this.#fd;
  }

  get path(): string {
    if (this.#pipe !== undefined) return `pipe:[${this.stat().ino}]`;
    try {
      return fs.readlinkSync(`/proc/self/fd/${this.#fd}`, { encoding: "latin1" });
    } catch {
      return this.terminal ? "/dev/tty" : `/dev/fd/${this.#fd}`;
    }
  }

  stat(): FileStat {
    const stat = this.#hostStat();
    return this.#pipe === undefined ? stat : { ...stat, mode: S_IFIFO | 0o600 };
  }

  #hostStat(): FileStat {
    return fromNodeStat(attempt(() => fs.fstatSync(this.#fd, { bigint: true })));
  }

  read(max: number): Uint8Array | Promise<Uint8Array> {
    const kind = this.#hostStat().mode & S_IFMT;
    if (kind === S_IFIFO || kind === S_IFSOCK) {
      this.#reader ??= new PullReader(this.#fd);
      return this.#reader.read(max);
    }
    const bytes = new Uint8Array(max);
    const count = attempt(() => fs.readSync(this.#fd, bytes, 0, max, null));
    return bytes.subarray(0, count);
  }

  write(bytes: Uint8Array): void {
    let done = 0;
    while (done < bytes.length) {
      try {
        done += fs.writeSync(this.#fd, bytes, done, bytes.length - done, null);
      } catch (error) {
        const failure = asSyscallError(error);
        // What is a pipe to the guest is a socket on the host: one that waits while its reader goes, with bytes unread,
        // is told another error than a pipe (net/unix/af_unix.c, unix_release_sock).
        if (this.#pipe !== undefined && failure.message === "ECONNRESET") throw new SyscallError("EPIPE");
        if (failure.message !== "EAGAIN") throw failure;
        // A pipe that some process made non-blocking, and its reader is slow: give it a moment.
        Atomics.wait(PAUSE, 0, 0, 1);
      }
    }
  }

  close(): void {
    this.#reader?.close();
  }
}

/** A descriptor that another guest handed on: whoever is at its other end must see that this one closes it. */
export class NodeInherited extends NodeStdio {
  readonly #number: number;

  constructor(fd: number, pipe: number | undefined) {
    super(fd, pipe);
    this.#number = fd;
  }

  release(): void {
    this.close();
    try {
      fs.closeSync(this.#number);
      // Node believes in its standard streams: something harmless takes the number, the lowest that is free.
      if (this.#number <= 2) fs.openSync("/dev/null", fs.constants.O_RDWR);
    } catch {
      // The reader had it, and has closed it.
    }
  }
}

/** How far the wall clock may be off (Date.now() itself is good for a millisecond). */
const MAX_DRIFT_NS = 5_000_000n;

/** Times that the clock is read before the cheaper way is worth loading. */
const FEW_TIMES = 2000;

/** Reads CLOCK_MONOTONIC, in ns. */
class MonotonicClock {
  #left = FEW_TIMES;
  /** CLOCK_MONOTONIC when performance.now() was 0. */
  #start = 0;

  read(): number {
    if (this.#left === 0) return this.#start + performance.now() * 1e6;
    const [seconds, nanoseconds] = process.hrtime();
    const now = seconds * 1e9 + nanoseconds;
    // Node loads `performance` when it is first used, which takes as long as thousands of calls.
    if (--this.#left === 0) this.#start = Math.floor(now - performance.now() * 1e6);
    return now;
  }
}

const CLOCK = new MonotonicClock();

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/** The machine's surroundings as Node sees them: the user's files, streams, clock. */
export class NodeHost implements Host {
  readonly stdin: NodeStdio = new NodeStdio(0);
  readonly stdout: NodeStdio = new NodeStdio(1);
  readonly stderr: NodeStdio = new NodeStdio(2);
  readonly files: HostFileSystem;
  readonly network: NodeNetwork | undefined;
  readonly processes: HostProcesses | undefined;
  readonly inherited: readonly InheritedStream[] | undefined;
  #locks: NodeLocks | undefined;
  /** Wall clock minus monotonic clock, which gives the wall clock its nanoseconds. */
  #offsetNs = 0n;

  /**
   * @param options.network false keeps the guest within the machine: its sockets reach each other only
   * @param options.processes runs child processes; without it there are none
   * @param options.sysroot folder that absolute paths are looked up in first (SysrootFiles)
   */
  constructor(
    options: {
      readonly network?: boolean;
      readonly processes?: HostProcesses;
      readonly inherited?: readonly InheritedStream[];
      readonly sysroot?: string;
    } = {},
  ) {
    const files = new NodeFileSystem();
    this.files = options.sysroot === undefined ? files : new SysrootFiles(files, textToPath(options.sysroot));
    const { processes } = options;
    this.processes = processes;
    if (processes !== undefined) terminals.othersRun = () => processes.running;
    this.inherited = options.inherited;
    this.network = options.network === false ? undefined : new NodeNetwork();
  }

  get locks(): NodeLocks | undefined {
    return (this.#locks ??= NodeLocks.open());
  }

  monotonicNs(): number {
    return CLOCK.read();
  }

  realtimeNs(): bigint {
    return this.realtimeOffsetNs() + BigInt(Math.floor(this.monotonicNs()));
  }

  realtimeOffsetNs(): bigint {
    const offset = BigInt(Date.now()) * 1_000_000n - BigInt(Math.floor(this.monotonicNs()));
    const drift = offset - this.#offsetNs;
    // At first; later, somebody set the clock, or the machine slept.
    if (drift > MAX_DRIFT_NS || drift < -MAX_DRIFT_NS) this.#offsetNs = offset;
    return this.#offsetNs;
  }

  randomBytes(bytes: Uint8Array): void {
    if (process.platform === "linux" && readRandom(bytes)) return;
    for (let at = 0; at < bytes.length; at += 0x1_0000) randomFillSync(bytes.subarray(at, at + 0x1_0000));
  }

  /** What is there, or what a container may have of it. */
  /** What keeps a process takes a few megabytes of JavaScript's heap, and V8 ends it all where that is full. */
  hasRoom(): boolean {
    const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
    return used < limit * MOST_HEAP;
  }

  memoryBytes(): number {
    const constrained = process.constrainedMemory?.() ?? 0;
    return constrained > 0 ? Math.min(os.totalmem(), constrained) : os.totalmem();
  }

  job(): HostJob | undefined {
    return currentJob();
  }

  hostName(): string {
    return os.hostname();
  }

  umask(mask: number): number {
    return process.umask(mask);
  }

  async close(): Promise<void> {
    terminals.close();
    this.stdin.close();
    await Promise.all([this.network?.close(), this.processes?.close()]);
  }
}

/** Fills bytes from the kernel's generator (random(4)); Node's own takes longer to load than a small program to run. */
function readRandom(bytes: Uint8Array): boolean {
  let fd: number;
  try {
    fd = fs.openSync("/dev/urandom", "r");
  } catch {
    return false;
  }
  try {
    for (let done = 0; done < bytes.length; ) {
      const count = fs.readSync(fd, bytes, done, bytes.length - done, null);
      if (count === 0) return false;
      done += count;
    }
    return true;
  } finally {
    fs.closeSync(fd);
  }
}
