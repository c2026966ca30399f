import { writeSync } from "node:fs";
import process from "node:process";
import { createInterface, type Interface } from "node:readline";
import type { Command } from "commander";
import { DebugConsole } from "../observe/debug/console.ts";
import { GdbServer, ListenError } from "../observe/gdb/server.ts";
import { SyscallError } from "../syscalls/abi/errno.ts";
import { AT_FDCWD, O_RDONLY } from "../syscalls/abi/fcntl.ts";
import { openPath } from "../syscalls/files/open.ts";
import { textToPath } from "../syscalls/files/path.ts";
import type { LinuxProcess } from "../syscalls/linux-process.ts";
import { CliError } from "./failure.ts";
import { type RunOptions, run } from "./run.ts";

interface GdbOptions extends RunOptions {
  readonly listen: string;
  readonly wait?: boolean;
  readonly goroutinesAsThreads?: boolean;
}

interface DebugOptions extends RunOptions {
  readonly stdin: string;
}

/** Adds the commands that debug a program: `gdb` and `debug`. They take the options of `run` too. */
export function addDebugCommands(program: Command, about: { file?: string }): void {
  withRunOptions(program, program.command("gdb"))
    .description("run a program with a debug server for gdb, on 127.0.0.1")
    .argument("<program>", "a static Linux/amd64 executable")
    .argument("[args...]", "the program's own arguments")
    .passThroughOptions()
    .exitOverride()
    .requiredOption("--listen <PORT>", "TCP port; 0 for any that is free (it is printed)")
    .option("--wait", "hold the program until gdb lets it go on")
    .option("--goroutines-as-threads", "show gdb every goroutine as a thread, running or not")
    .action(async (file: string, args: string[], options: GdbOptions) => {
      about.file = file;
      process.exitCode = await gdb(file, args, options);
    });
  withRunOptions(program, program.command("debug"))
    .description("run a program in an interactive debugger; commands come from standard input")
    .argument("<program>", "a static Linux/amd64 executable")
    .argument("[args...]", "the program's own arguments")
    .passThroughOptions()
    .exitOverride()
    .option("--stdin <FILE>", "the program's standard input", "/dev/null")
    .action(async (file: string, args: string[], options: DebugOptions) => {
      about.file = file;
      process.exitCode = await debug(file, args, options);
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
        wait: options.wait ?? false,
        goroutines: options.goroutinesAsThreads ?? false,
      }),
    );
    process.stderr.write(`goemu: in gdb: target remote :${server.port}\n`);
    return (status) => server.finish(status);
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

/** Runs a program in the console; returns the exit status for the shell. */
async function debug(file: string, args: readonly string[], options: DebugOptions): Promise<number> {
  return run(file, args, options, async (machine) => {
    replaceStandardInput(machine.process, options.stdin);
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

/** The console reads standard input itself: the guest gets a file in its place. */
function replaceStandardInput(guest: LinuxProcess, path: string): void {
  try {
    const description = openPath(guest, AT_FDCWD, textToPath(path), O_RDONLY, 0);
    guest.files.table.close(0);
    guest.files.table.install(description, false);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw new CliError(`--stdin: cannot read ${path}: ${error.message} (name another file)`);
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
