import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import * as fs from "node:fs";
import type { Duplex, Writable } from "node:stream";
import { SyscallError } from "../../syscalls/abi/errno.ts";
import { SIGNAL, type SignalName } from "../../syscalls/abi/signals.ts";
import type { Handover, HandoverDescriptor } from "../handover.ts";
import type {
  ExitStatus,
  HostChannel,
  HostChild,
  HostProcesses,
  InheritedDescriptor,
  NewProcess,
  Usage,
} from "../processes.ts";
import { attempt } from "./errors.ts";
import { terminals } from "./terminals.ts";

/** How long what a guest wrote to a child before its end may take to go out, in ms. */
const LAST_WORDS_MS = 5000;

/** Node's strings for byte strings: what is not UTF-8 is lost. */
const toText = (bytes: string): string => Buffer.from(bytes, "latin1").toString();

/** How goemu is started once more. */
export interface GoemuCommand {
  readonly file: string;
  /** Arguments before the descriptor from which the new goemu takes what it is to run (handover.ts). */
  readonly args: readonly string[];
}

/** Child processes by node:child_process: each guest's is a goemu of its own. */
export class NodeProcesses implements HostProcesses {
  readonly native = process.platform === "linux" && process.arch === "x64";
  readonly #command: GoemuCommand;
  readonly #running = new Set<ChildProcess>();

  constructor(command: GoemuCommand) {
    this.#command = command;
  }

  get running(): boolean {
    return this.#running.size > 0;
  }

  spawn(program: NewProcess, ended: (status: ExitStatus, usage: Usage | undefined) => void): HostChild {
    const opened: number[] = [];
    try {
      return this.#spawn(program, opened, ended);
    } finally {
      for (const fd of opened) fs.closeSync(fd);
    }
  }

  #spawn(
    program: NewProcess,
    opened: number[],
    ended: (status: ExitStatus, usage: Usage | undefined) => void,
  ): HostChild {
    const byGoemu = program.by === "goemu";
    const stdio = this.#stdio(program.descriptors, opened);
    const handoverFd = Math.max(3, stdio.length);
    if (byGoemu) stdio[handoverFd] = "pipe";
    for (let fd = 0; fd < stdio.length; fd++) stdio[fd] ??= "ignore";
    const command = byGoemu ? this.#goemu(program, handoverFd) : native(program);
    const child = attempt(() =>
      spawn(command.file, command.args, {
        ...command.options,
        stdio: stdio as StdioOptions,
        cwd: toText(program.directory),
        detached: program.detached,
      }),
    );
    child.on("error", () => {});
    // Node tells the reason only later. What can be looked at has been; what is left is a missing dynamic linker.
    if (child.pid === undefined) throw new SyscallError(byGoemu ? "EAGAIN" : "ENOENT");
    this.#running.add(child);
    // It may change settings of a terminal.
    terminals.forget();
    const channels = new Map<number, HostChannel>();
    for (const { fd, kind } of program.descriptors) {
      if (kind === "bridge") channels.set(fd, new SocketChannel(child.stdio[fd] as Duplex));
    }
    const handover = byGoemu ? (child.stdio[handoverFd] as Duplex) : undefined;
    handover?.write(`${JSON.stringify(handoverOf(program))}\n`);
    const report = handover === undefined ? Promise.resolve("") : readAll(handover);
    child.on("exit", (code, signal) => {
      this.#running.delete(child);
      void report.then((text) => {
        const told = parseReport(text);
        ended(told?.status ?? hostStatus(code, signal), told?.usage);
      });
    });
    return { pid: child.pid, channels };
  }

  #stdio(descriptors: readonly InheritedDescriptor[], opened: number[]): (number | "pipe" | "ignore")[] {
    const stdio: (number | "pipe" | "ignore")[] = [];
    for (const descriptor of descriptors) {
      const { fd } = descriptor;
      if (descriptor.kind === "host") stdio[fd] = descriptor.descriptor;
      else if (descriptor.kind === "bridge") stdio[fd] = "pipe";
      else if (descriptor.kind === "open") {
        const own = attempt(() => fs.openSync(toText(descriptor.path), descriptor.flags & 3));
        opened.push(own);
        stdio[fd] = own;
      } else {
        // Two descriptors of one bridge: who starts the program puts them together. Others can be given twice.
        const first = stdio[descriptor.as];
        stdio[fd] = typeof first === "number" ? first : "ignore";
      }
    }
    return stdio;
  }

  #goemu(program: NewProcess, handoverFd: number): Command {
    const shown = program.argv.slice(1).map((arg) => toText(arg).slice(0, 200));
    const args = [...this.#command.args, String(handoverFd), toText(program.file), ...shown];
    return { file: this.#command.file, args, options: { env: process.env } };
  }

  kill(pid: number, signal: number): void {
    attempt(() => process.kill(pid, signal));
  }

  async close(): Promise<void> {
    const written: Promise<void>[] = [];
    for (const child of this.#running) {
      child.unref();
      for (const stream of child.stdio) {
        if (stream && "writableLength" in stream && stream.writableLength > 0) written.push(sent(stream));
        (stream as { unref?: () => void } | null | undefined)?.unref?.();
      }
    }
    await Promise.all(written);
  }
}

interface Command {
  readonly file: string;
  readonly args: string[];
  readonly options: { readonly env: NodeJS.ProcessEnv; readonly argv0?: string };
}

/** A program that the host runs. */
function native(program: NewProcess): Command {
  const env: NodeJS.ProcessEnv = {};
  for (const entry of program.envp) {
    const equals = entry.indexOf("=");
    if (equals > 0) env[toText(entry.slice(0, equals))] ??= toText(entry.slice(equals + 1));
  }
  const file = toText(program.file);
  const argv = program.argv.map(toText);
  const joined = joinedDescriptors(program.descriptors);
  if (joined === "") return { file, args: argv.slice(1), options: { env, argv0: argv[0] ?? "" } };
  // Only a process itself can give two of its descriptors one end of a channel.
  const script = `file=$1; shift; exec "$file" "$@" ${joined}`;
  return { file: "/bin/sh", args: ["-c", script, "sh", file, ...argv.slice(1)], options: { env } };
}

/** Redirections for descriptors that share a bridge with another. */
function joinedDescriptors(descriptors: readonly InheritedDescriptor[]): string {
  const bridges = new Set(descriptors.filter(({ kind }) => kind === "bridge").map(({ fd }) => fd));
  return descriptors
    .flatMap((each) => (each.kind === "same" && bridges.has(each.as) && each.fd < 10 ? [`${each.fd}>&${each.as}`] : []))
    .join(" ");
}

function handoverOf(program: NewProcess): Handover {
  const descriptors = program.descriptors.map((each): HandoverDescriptor => {
    if (each.kind === "same") return { fd: each.fd, as: each.as };
    return each.kind === "bridge" ? { fd: each.fd, pipe: each.flags } : { fd: each.fd };
  });
  const { file, name, argv, envp, ignored, blocked } = program;
  return { file, name, argv, envp, descriptors, ignored, blocked: String(blocked) };
}

function hostStatus(code: number | null, signal: string | null): ExitStatus {
  if (signal !== null) return { kind: "signaled", signal: SIGNAL[signal as SignalName] ?? 9 };
  return { kind: "exited", status: code ?? 255 };
}

/** What a goemu says of the end of its guest. */
function parseReport(text: string): { status: ExitStatus; usage: Usage } | undefined {
  if (text === "") return undefined;
  return JSON.parse(text) as { status: ExitStatus; usage: Usage };
}

function readAll(stream: Duplex): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    stream.on("data", (bytes: Buffer) => (text += bytes.toString()));
    stream.on("error", () => {});
    stream.on("close", () => resolve(text.endsWith("\n") ? text : ""));
  });
}

/** Waits until what was written to a stream has gone out, as long as that makes sense. */
function sent(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, LAST_WORDS_MS).unref();
    for (const event of ["drain", "finish", "error", "close"]) stream.once(event, resolve);
  });
}

/** A channel over the socket that Node makes for a descriptor. */
class SocketChannel implements HostChannel {
  readonly #stream: Duplex;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.allowHalfOpen = true;
  }

  listen(events: { data(bytes: Uint8Array): void; drain(): void; end(): void }): void {
    const stream = this.#stream;
    stream.on("data", events.data);
    stream.on("drain", events.drain);
    stream.on("end", events.end);
    stream.on("error", events.end);
    stream.on("close", events.end);
  }

  write(bytes: Uint8Array): boolean {
    return this.#stream.write(bytes);
  }

  end(): void {
    this.#stream.end();
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  close(): void {
    this.#stream.destroy();
  }
}
