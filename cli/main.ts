import { writeSync } from "node:fs";
import process from "node:process";
import { Command, CommanderError } from "commander";
import { fillOptionalValues, withRunCommand } from "./arguments.ts";
import { addDebugCommands } from "./debug-commands.ts";
import { explain } from "./failure.ts";
import { disasm, info, type Print, symbols, syscalls } from "./inspect.ts";
import { addObserveCommands } from "./observe-commands.ts";
import { type RunOptions, run } from "./run.ts";
import { VERSION } from "./version.ts";

/** Parses the command line, carries it out and sets the exit status. */
export async function main(args: readonly string[]): Promise<void> {
  const about: { file?: string } = {};
  const program = buildProgram(about);
  const commands = new Set([...program.commands.map((command) => command.name()), "help"]);
  try {
    const full = withRunCommand(args, commands);
    const chosen = program.commands.find((command) => command.name() === full[0]);
    const filled = chosen === undefined ? full : fillOptionalValues(full, chosen);
    if (full.length === 0) program.help({ error: true });
    await program.parseAsync(filled, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 125;
      return;
    }
    const { line, status } = explain(error, about.file);
    process.stderr.write(`${line}\n`);
    process.exitCode = status;
  }
}

const collect = (value: string, before: string[]): string[] => [...before, value];

function buildProgram(about: { file?: string }): Command {
  const program = new Command("goemu")
    .description("An x86-64 Linux machine that runs unmodified Go executables")
    .version(VERSION, "-v, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError("(goemu --help tells more)")
    .addHelpText("after", "\n`goemu [options] <program> [args…]` is short for `goemu run …`.");
  program
    .command("run")
    .description("run a program (the default)")
    .argument("<program>", "a static Linux/amd64 executable")
    .argument("[args...]", "the program's own arguments")
    .passThroughOptions()
    .exitOverride()
    .option("-E, --env <NAME=VALUE>", "set a variable of the guest's environment (may be repeated)", collect, [])
    .option("--clear-env", "start from an empty environment instead of the host's")
    .option("--cpus <N>", "CPUs that the guest sees (default: the host's)")
    .option("--cpu <MODEL>", "x86-64-v1 to v3, or features to drop, like -sse4_2 (default: x86-64-v3)")
    .option("--memory <SIZE>", "guest memory limit, like 512M or 2G")
    .option("--address-space <LAYOUT>", "compact, or linux: the addresses that Linux would give; slower", "compact")
    .option("--tier <TIER>", "auto, interpreter, or jit: also compile hot code (experimental)", "auto")
    .option("--strace [FILE]", "print each system call on stderr, or to --strace=FILE")
    .option("--stats [FORMAT]", "print figures at exit on stderr; --stats=json for programs")
    .action(async (file: string, args: string[], options: RunOptions) => {
      about.file = file;
      process.exitCode = await run(file, args, options);
    });
  const inspect = (name: string, description: string): Command =>
    program.command(name).description(description).exitOverride().option("--json", "print JSON");
  inspect("info", "what a file is: entry, sections, Go version, build settings, whether goemu can run it")
    .argument("<file>")
    .action((file: string, options: { json?: boolean }) =>
      withOutput(about, file, (print) => info(file, options, print)),
    );
  inspect("disasm", "disassemble a function or a range")
    .argument("<file>")
    .argument("[place]", "SYMBOL or ADDRESS, with ,LENGTH if need be (default: the entry point)")
    .option("--syntax <SYNTAX>", "gas, intel or go", "gas")
    .action((file: string, place: string | undefined, options: { syntax: string; json?: boolean }) =>
      withOutput(about, file, (print) => disasm(file, place, options, print)),
    );
  inspect("symbols", "list functions, in stripped files too")
    .argument("<file>")
    .argument("[regex]")
    .action((file: string, regex: string | undefined, options: { json?: boolean }) =>
      withOutput(about, file, (print) => symbols(file, regex, options, print)),
    );
  inspect("syscalls", "list the system calls that are there").action((options: { json?: boolean }) =>
    withOutput(about, undefined, (print) => syscalls(options, print)),
  );
  addDebugCommands(program, about);
  addObserveCommands(program, about);
  return program;
}

/** Collects lines and writes them at once; a reader that goes away early is no error. */
function withOutput(about: { file?: string }, file: string | undefined, produce: (print: Print) => void): void {
  about.file = file;
  let pending: string[] = [];
  const flush = (): void => {
    if (pending.length === 0) return;
    const bytes = new TextEncoder().encode(`${pending.join("\n")}\n`);
    pending = [];
    for (let done = 0; done < bytes.length; ) {
      try {
        done += writeSync(1, bytes, done);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== "EAGAIN") throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
  };
  try {
    produce((line) => {
      pending.push(line);
      if (pending.length >= 4096) flush();
    });
    flush();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
}
