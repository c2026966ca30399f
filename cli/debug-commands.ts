import { writeSync } from "node:fs";
import process from "node:process";
import { createInterface, type Interface } from "node:readline";
import { type Command, Option } from "commander";
import { DebugConsole } from "../observe/debug/console.ts";
import { GdbServer, ListenError } from "../observe/gdb/server.ts";
import { SyscallError } from "../syscalls/abi/errno.ts";
import { AT_FDCWD, O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY } from "../syscalls/abi/fcntl.ts";
import { SIGNAL } from "../syscalls/abi/signals.ts";
import { openPath } from "../syscalls/files/open.ts";
import { textToPath } from "../syscalls/files/path.ts";
import { StreamDescription } from "../syscalls/files/stream.ts";
import type { LinuxProcess } from "../syscalls/linux-process.ts";
import { CliError } from "./failure.ts";
import { type RunOptions, run } from "./run.ts";

interface GdbOptions extends RunOptions {
  readonly listen: string;
  readonly wait: boolean;
  readonly goroutinesAsThreads?: boolean;
}

interface DebugOptions extends RunOptions {
  readonly stdin: string;
}

interface DebugServerOptions extends RunOptions {
  readonly reverseConnect: string;
  readonly stdinPath?: string;
  readonly stdoutPath?: string;
  readonly stderrPath?: string;
  readonly stdioPath?: string;
}

/** Adds the commands that debug a program: `gdb`, `debug` and `debugserver`. They take the options of `run` too. */
export function addDebugCommands(program: Command, about: { file?: string }): void {
  withRunOptions(program, program.command("gdb"))
    .description("run a program with a debug server for gdb, on 127.0.0.1")
    .argument("<program>", "a Linux/amd64 executable")
    .argument("[args...]", "the program's own arguments")
    .passThroughOptions()
    .exitOverride()
    .requiredOption("--listen <PORT>", "TCP port; 0 for any that is free (it is printed)")
    .addOption(new Option("--wait", "accepted: the program waits anyway").default(true).hideHelp())
    .option("--no-wait", "start the program at once instead of when gdb lets it go on")
    .option("--goroutines-as-threads", "show gdb every goroutine as a thread, running or not")
    .action(async (file: string, args: string[], options: GdbOptions) => {
      about.file = file;
      process.exitCode = await gdb(file, args, options);
    });
  withRunOptions(program, program.command("debug"))
    .description("run a program in an interactive debugger; commands come from standard input")
    .argument("<program>", "a Linux/amd64 executable")
    .argument("[args...]", "the program's own arguments")
    .passThroughOptions()
    .exitOverride()
    .option("--stdin <FILE>", "the program's standard input", "/dev/null")
    .action(async (file: string, args: string[], options: DebugOptions) => {
      about.file = file;
      process.exitCode = await debug(file, args, options);
    });
  withRunOptions(program, program.command("debugserver"))
    .description("stand in for lldb's debugserver, for Delve (DELVE_DEBUGSERVER_PATH)")
    .argument("<program>", "a Linux/amd64 executable")
    .argument("[args...]", "the program's own arguments")
    .passThroughOptions()
    .exitOverride()
    .requiredOption("-R, --reverse-connect <HOST:PORT>", "where the client listens")
    .option("-F, --forward-env", "accepted: the environment is passed on anyway")
    .option("-D, --disable-aslr", "accepted: addresses are the same each time")
    .option("--unmask-signals", "accepted: the program's signal mask is empty")
    .option("--stdin-path <FILE>", "the program's standard input")
    .option("--stdout-path <FILE>", "the program's standard output, instead of the client")
    .option("--stderr-path <FILE>", "the program's standard error, instead of the client")
    .option("--stdio-path <FILE>", "all three")
    .action(async (file: string, args: string[], options: DebugServerOptions) => {
      about.file = file;
      process.exitCode = await debugServer(file, args, options);
    });
}

/** Gives a command the options of `run`. */
function withRunOptions(program: Command, command: Command): Command {
  for (const option of program.commands.find((other) => other.name() === "run")?.options ?? []) {
    command.addOption(option);
  }
  return command;
}

/** Runs a program under a debug server; returns the exit status for the shell. */
async function gdb(file: string, args: readonly string[], options: GdbOptions): Promise<number> {
  const port = parsePort(options.listen);
  return run(file, args, options, async (machine) => {
    const server = await listen(() =>
      GdbServer.listen(machine, {
        port,
        wait: options.wait,
        goroutines: options.goroutinesAsThreads ?? false,
      }),
    );
    process.stderr.write(`goemu: in gdb: target remote :${server.port}\n`);
    const signals = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((name) => {
      const handler = (): void => server.terminate(SIGNAL[name]);
      process.on(name, handler);
      return [name, handler] as const;
    });
    return async (status) => {
      for (const [name, handler] of signals) process.off(name, handler);
      await server.finish(status);
    };
  });
}

async function listen<T>(open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (error instanceof ListenError) throw new CliError(error.message);
    throw error;
  }
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 65536;
  if (port > 65535) throw new CliError(`--listen: "${text}" is no port (use a number from 0 to 65535)`);
  return port;
}

const STREAMS = ["in", "out", "err"] as const;

/** Runs a program for a client that listens; returns the exit status for the shell. */
async function debugServer(file: string, args: readonly string[], options: DebugServerOptions): Promise<number> {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(options.reverseConnect) ?? [];
  if (host === undefined) throw new CliError(`-R: "${options.reverseConnect}" is not HOST:PORT`);
  const paths = [options.stdinPath, options.stdoutPath, options.stderrPath].map((path) => path ?? options.stdioPath);
  return run(file, args, options, async (machine) => {
    const server = await listen(() => GdbServer.connect(machine, host, Number(port)));
    for (const [fd, path] of paths.entries()) {
      // Delve names its own streams, which the guest has already.
      if (path === `/dev/std${STREAMS[fd]}`) continue;
      if (path !== undefined) replaceDescriptor(machine.process, fd, path, `--std${STREAMS[fd]}-path`);
      else if (fd > 0) printToClient(machine.process, fd, server);
    }
    return (status) => server.finish(status);
  });
}

/** The guest's descriptor `fd` becomes a stream to the debugger's client. */
function printToClient(guest: LinuxProcess, fd: number, server: GdbServer): void {
  const before = guest.files.table.get(fd);
  const ends = {
    path: before.path,
    stat: () => before.stat(),
    source: undefined,
    sink: (bytes: Uint8Array): number => {
      server.print(bytes);
      return bytes.length;
    },
    wakeUp: () => guest.wakeUp(),
  };
  before.acquire();
  guest.files.table.replace(fd, new StreamDescription(ends, O_WRONLY), false);
}

/** Runs a program in the console; returns the exit status for the shell. */
async function debug(file: string, args: readonly string[], options: DebugOptions): Promise<number> {
  return run(file, args, options, async (machine) => {
    replaceDescriptor(machine.process, 0, options.stdin, "--stdin");
    const terminal = process.stdin.isTTY === true;
    const console = new DebugConsole(machine, (line) => writeLine(line));
    const lines = createInterface({
      input: process.stdin,
      output: terminal ? process.stdout : undefined,
      terminal,
      prompt: "(goemu) ",
      completer: (line: string) => console.complete(line),
    });
    lines.on("SIGINT", () => console.interrupt());
    const finished = converse(console, lines, terminal);
    return async (status) => {
      console.exited(status);
      lines.close();
      await finished;
    };
  });
}

/** Takes lines until there are no more, or the program has ended. */
async function converse(console: DebugConsole, lines: Interface, terminal: boolean): Promise<void> {
  const queue: string[] = [];
  let wake = (): void => {};
  let open = true;
  lines.on("line", (line) => {
    queue.push(line);
    wake();
  });
  lines.on("close", () => {
    open = false;
    wake();
  });
  if (terminal) console.greet();
  while (!console.finished) {
    const line = queue.shift();
    if (line !== undefined) {
      lines.pause();
      await console.execute(line);
      continue;
    }
    if (!open) {
      console.quit();
      break;
    }
    lines.resume();
    if (terminal) lines.prompt();
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  lines.close();
}

/** The guest's descriptor `fd` becomes a file. @throws CliError, with the option's name, if it can't be opened */
function replaceDescriptor(guest: LinuxProcess, fd: number, path: string, option: string): void {
  try {
    const flags = fd === 0 ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC;
    guest.files.table.replace(fd, openPath(guest, AT_FDCWD, textToPath(path), flags, 0o666), false);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw new CliError(`${option}: cannot open ${path}: ${error.message} (name another file)`);
  }
}

function writeLine(line: string): void {
  const bytes = new TextEncoder().encode(`${line}\n`);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") return;
      if (code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}
