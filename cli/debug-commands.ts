import process from "node:process";
import type { Command } from "commander";
import { GdbServer, ListenError } from "../observe/gdb/server.ts";
import { CliError } from "./failure.ts";
import { type RunOptions, run } from "./run.ts";

interface GdbOptions extends RunOptions {
  readonly listen: string;
  readonly wait?: boolean;
  readonly goroutinesAsThreads?: boolean;
}

/** Adds the commands that debug a program: `gdb`. They take the options of `run` too. */
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
