import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as tty from "node:tty";
import { SyscallError } from "../../syscalls/abi/errno.ts";
import {
  CONTROL_CHARACTERS,
  decodeTermios,
  ECHO,
  encodeTermios,
  ICANON,
  STANDARD_TERMIOS,
  sameTermios,
  TERMIOS_SIZE,
  type Termios,
} from "../../syscalls/abi/termios.ts";
import type { HostJob, HostTerminal, WindowSize } from "../terminal.ts";
import { asSyscallError, attempt } from "./errors.ts";
import { ReadyQuestion } from "./ready.ts";

/** /dev/tty stands for the controlling terminal (Linux Documentation/admin-guide/devices.txt, 5 char). */
const DEV_TTY = 0x500n;
/** How long to wait before a terminal that cannot be watched is looked at again, in ms. */
const LOOK_AGAIN_MS = 20;

/** Where the kernel has put this process (proc(5), /proc/pid/stat); undefined where there is no /proc. */
export function currentJob(): HostJob | undefined {
  let text: string;
  try {
    text = fs.readFileSync("/proc/self/stat", "latin1");
  } catch {
    return undefined;
  }
  // Behind the name in parentheses: state, ppid, pgrp, session, tty_nr, tpgid.
  const [, , group, session, terminal, foreground] = text
    .slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  return { group, session, terminal: BigInt(terminal >>> 0), foreground };
}

/** The terminals that the guest has come across, each with what there is to put back at the end. */
class NodeTerminals {
  readonly #all = new Map<bigint, NodeTerminal>();
  /** Do others, who may change a terminal's settings, run beside the guest? */
  othersRun: () => boolean = () => false;
  /** After a stop the shell may have changed the settings. */
  readonly #continued = (): void => this.forget();
  #listening = false;

  /** The terminal behind a descriptor that is one. */
  of(fd: number): NodeTerminal {
    const { rdev } = fs.fstatSync(fd, { bigint: true });
    const device = rdev === DEV_TTY ? currentJob()?.terminal || rdev : rdev;
    let terminal = this.#all.get(device);
    if (terminal === undefined) {
      terminal = new NodeTerminal(fd, device, () => this.#mayKeep());
      this.#all.set(device, terminal);
    }
    return terminal;
  }

  #mayKeep(): boolean {
    if (!this.#listening) process.on("SIGCONT", this.#continued);
    this.#listening = true;
    return !this.othersRun();
  }

  /** What is known of the settings may no longer be so. */
  forget(): void {
    for (const terminal of this.#all.values()) terminal.forget();
  }

  /** Puts the terminals back into the state in which they were found, and gives them back. */
  close(): void {
    if (this.#listening) process.off("SIGCONT", this.#continued);
    for (const terminal of this.#all.values()) terminal.close();
    this.#all.clear();
  }
}

/**
 * A terminal of the host through Node. Node itself can only switch between two modes; the settings in full are stty(1)'s
 * to read and write, so that the host's line discipline does for the guest what it does for any program: echo, editing,
 * ^C and ^Z for the whole process group, and what nobody has read is left for the next program.
 */
class NodeTerminal implements HostTerminal {
  readonly device: bigint;
  /** A non-blocking description of our own; the guest's, which may block, if there can be none. */
  readonly #fd: number;
  readonly #own: boolean;
  readonly #mayKeep: () => boolean;
  readonly #waiting = new Set<() => void>();
  #watcher: tty.ReadStream | undefined;
  #sizer: tty.WriteStream | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** There is something to read: what a description that may block has to know. */
  #ready = false;
  /** Undefined before it has been needed, false where it can't be had. */
  #question: ReadyQuestion | false | undefined;
  #known: Termios | undefined;
  /** What `stty -g` prints, field by field: it wants as many back. */
  #fields: string[] = [];
  /** The settings that were there before the guest changed them. */
  #original: Termios | undefined;
  #fallback: TwoModes | undefined;

  constructor(fd: number, device: bigint, mayKeep: () => boolean) {
    this.device = device;
    this.#mayKeep = mayKeep;
    const own = reopen(fd, fs.constants.O_RDWR);
    this.#own = own !== undefined;
    this.#fd = own ?? fd;
  }

  attributes(): Termios {
    if (this.#fallback !== undefined) return this.#fallback.attributes;
    if (this.#known !== undefined && this.#mayKeep()) return this.#known;
    const told = stty(this.#fd, ["-g"]);
    this.#fields = told?.output.trim().split(":") ?? [];
    const known = parseSettings(this.#fields);
    if (known === undefined) {
      this.#fallback = new TwoModes(this.#fd);
      return this.#fallback.attributes;
    }
    this.#known = this.#mayKeep() ? known : undefined;
    return known;
  }

  setAttributes(attributes: Termios): void {
    const before = this.attributes();
    if (this.#fallback !== undefined) {
      this.#fallback.attributes = attributes;
      return;
    }
    if (sameTermios(before, attributes)) return;
    this.#original ??= before;
    this.#known = undefined;
    // It fails, too, if the terminal has not taken everything over, which tcsetattr(3) does not mind.
    const done = stty(this.#fd, [formatSettings(attributes, this.#fields)]);
    if (done === undefined || /input\/output error/i.test(done.error)) throw new SyscallError("EIO");
  }

  forget(): void {
    this.#known = undefined;
  }

  windowSize(): WindowSize {
    if (this.#sizer === undefined) {
      const fd = reopen(this.#fd, fs.constants.O_RDWR);
      if (fd === undefined) return { rows: process.stdout.rows ?? 0, columns: process.stdout.columns ?? 0 };
      this.#sizer = new tty.WriteStream(fd);
      giveUp(this.#sizer, fd);
    } else (this.#sizer as unknown as { _refreshSize?: () => void })._refreshSize?.();
    return { rows: this.#sizer.rows ?? 0, columns: this.#sizer.columns ?? 0 };
  }

  setWindowSize({ rows, columns }: WindowSize): void {
    stty(this.#fd, ["rows", String(rows), "columns", String(columns)]);
  }

  read(max: number): Uint8Array | undefined {
    if (!this.#own && !this.#ready) return undefined;
    this.#ready = false;
    const bytes = new Uint8Array(max);
    try {
      return bytes.subarray(0, fs.readSync(this.#fd, bytes, 0, max, null));
    } catch (error) {
      const failure = asSyscallError(error);
      if (failure.message === "EAGAIN") return undefined;
      throw failure;
    }
  }

  readable(): boolean | undefined {
    try {
      this.#question ??= this.#own && new ReadyQuestion(this.#fd);
      return this.#question === false ? undefined : this.#question.ask();
    } catch {
      this.#question = false;
      return undefined;
    }
  }

  write(bytes: Uint8Array): number {
    return attempt(() => fs.writeSync(this.#fd, bytes, 0, bytes.length, null));
  }

  watch(ready: () => void): void {
    this.#waiting.add(ready);
    if (this.#watcher === undefined && this.#retry === undefined) this.#listen();
  }

  unwatch(ready: () => void): void {
    this.#waiting.delete(ready);
    if (this.#waiting.size > 0) return;
    this.#watcher?.destroy();
    this.#watcher = undefined;
    clearTimeout(this.#retry);
    this.#retry = undefined;
  }

  /**
   * Waits for something to read without reading it: a stream that is given no room for it ends with an error (libuv:
   * uv_read_start(3), UV_ENOBUFS) when there is some, and a new one is made for the next time.
   */
  #listen(): void {
    const fd = this.#own ? reopen(this.#fd, fs.constants.O_RDONLY) : this.#fd;
    try {
      if (fd === undefined) throw new SyscallError("EIO");
      const watcher = listenWithoutReading(fd);
      this.#watcher = watcher;
      if (fd !== this.#fd) giveUp(watcher, fd);
      const look = (): void => {
        if (this.#watcher !== watcher) return;
        this.#watcher = undefined;
        watcher.destroy();
        this.#arrived();
      };
      for (const event of ["error", "end", "close"]) watcher.on(event, look);
      watcher.unref();
      watcher.resume();
      watcher.read(0);
    } catch {
      this.#retry = setTimeout(() => {
        this.#retry = undefined;
        this.#arrived();
      }, LOOK_AGAIN_MS);
      this.#retry.unref();
    }
  }

  #arrived(): void {
    this.#ready = true;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const ready of waiting) ready();
  }

  close(): void {
    this.#waiting.clear();
    this.unwatch(() => {});
    this.#sizer?.destroy();
    this.#fallback?.close();
    this.#restore();
    if (this.#own) fs.closeSync(this.#fd);
  }

  #restore(): void {
    if (this.#original === undefined) return;
    const job = currentJob();
    // In the background that would stop us (tcsetattr(3), SIGTTOU).
    if (job !== undefined && job.foreground !== -1 && job.foreground !== job.group) return;
    try {
      this.setAttributes(this.#original);
    } catch {
      // The terminal is gone.
    }
  }
}

/** Where there is no stty(1): the two modes that Node knows, and the guest is told what it has set. */
class TwoModes {
  readonly #stream: tty.ReadStream;
  #attributes = STANDARD_TERMIOS;

  constructor(fd: number) {
    const own = reopen(fd, fs.constants.O_RDONLY);
    this.#stream = new tty.ReadStream(own ?? fd);
    if (own !== undefined) giveUp(this.#stream, own);
  }

  get attributes(): Termios {
    return this.#attributes;
  }

  set attributes(attributes: Termios) {
    this.#attributes = attributes;
    this.#stream.setRawMode((attributes.lflag & (ICANON | ECHO)) === 0);
  }

  close(): void {
    this.#stream.setRawMode(false);
    this.#stream.destroy();
  }
}

/** A description of our own of the same terminal, which leaves the flags alone that other processes share. */
function reopen(fd: number, access: number): number | undefined {
  const path = process.platform === "linux" ? `/proc/self/fd/${fd}` : "/dev/tty";
  try {
    return fs.openSync(path, access | fs.constants.O_NONBLOCK | fs.constants.O_NOCTTY);
  } catch {
    return undefined;
  }
}

/** libuv opens a terminal once more for a stream and goes on with that: what it was given is ours to close. */
function giveUp(stream: tty.ReadStream | tty.WriteStream, fd: number): void {
  if ((stream as unknown as { _handle?: { fd?: number } })._handle?.fd !== fd) fs.closeSync(fd);
}

/** tty.ReadStream hands its options on to net.Socket, which its type declaration does not say. */
function listenWithoutReading(fd: number): tty.ReadStream {
  const construct = tty.ReadStream as unknown as new (fd: number, options: object) => tty.ReadStream;
  return new construct(fd, { onread: { buffer: new Uint8Array(0), callback: () => false } });
}

/** Runs stty(1) for a terminal; undefined if there is none. */
function stty(fd: number, args: readonly string[]): { output: string; error: string } | undefined {
  const env = { ...process.env, LC_ALL: "C" };
  // libuv makes what a child gets for its standard input one that blocks (uv_spawn(3)).
  const own = reopen(fd, fs.constants.O_RDWR);
  try {
    const { stdout, stderr, error } = spawnSync("stty", args, { stdio: [own ?? fd, "pipe", "pipe"], env });
    return error === undefined ? { output: stdout.toString(), error: stderr.toString() } : undefined;
  } finally {
    if (own !== undefined) fs.closeSync(own);
  }
}

/** Hexadecimal numbers: four words of flags, control characters. Undefined for another form. */
function parseSettings(fields: readonly string[]): Termios | undefined {
  if (fields.length < 4 + CONTROL_CHARACTERS || fields.some((field) => !/^[0-9a-f]+$/.test(field))) return undefined;
  const numbers = fields.map((field) => Number.parseInt(field, 16));
  const bytes = new Uint8Array(TERMIOS_SIZE);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 4; i++) view.setUint32(i * 4, numbers[i], true);
  bytes.set(numbers.slice(4, 4 + CONTROL_CHARACTERS), 17);
  return decodeTermios(bytes);
}

function formatSettings(attributes: Termios, fields: readonly string[]): string {
  const view = new DataView(encodeTermios(attributes, TERMIOS_SIZE).buffer);
  const flags = [0, 4, 8, 12].map((at) => view.getUint32(at, true));
  const known = [...flags, ...attributes.cc].map((value) => value.toString(16));
  return [...known, ...fields.slice(known.length)].join(":");
}

/** Those of this process. */
export const terminals = new NodeTerminals();
