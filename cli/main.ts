import process from "node:process";
import { Command, CommanderError, Option } from "commander";
import { isThreadWaiting, leaveWithThreadsWaiting } from "../host/node/answers.ts";
import { fillOptionalValues, withRunCommand } from "./arguments.ts";
import { explain } from "./failure.ts";
import { addGuestOptions } from "./guest-options.ts";
import type { RunOptions } from "./run.ts";
import { VERSION } from "./version.ts";
import { warn } from "./write.ts";

/** Commands whose code is loaded only when they are asked for: a program's start must not wait for it. */
export const OTHER_COMMANDS: ReadonlySet<string> = new Set([
  ...["info", "disasm", "symbols", "syscalls"],
  ...["gdb", "debug", "debugserver"],
  ...["road", "trace", "profile"],
]);

async function addOtherCommands(program: Command, about: { file?: string }): Promise<void> {
  const { addInspectCommands } = await import("./inspect-commands.ts");
  const { addDebugCommands } = await import("./debug-commands.ts");
  const { addObserveCommands } = await import("./observe-commands.ts");
  addInspectCommands(program, about);
  addDebugCommands(program, about);
  addObserveCommands(program, about);
}

/** Commands that only look at a file. */
const LOOKING: ReadonlySet<string> = new Set(["info", "disasm", "symbols", "syscalls", "help"]);

/**
 * Parses the command line, carries it out and sets the exit status.
 * @param memory for the machine that the command runs, if it runs one
 * @returns whether a guest may have run: then all has been written, and nothing that is still open is to be waited for
 */
export async function main(args: readonly string[], memory?: WebAssembly.Memory): Promise<boolean> {
  const about: { file?: string } = {};
  const program = buildProgram(about, memory);
  const [first] = args;
  const listsAll = first === undefined || ["-h", "--help", "help"].includes(first);
  if (listsAll || OTHER_COMMANDS.has(first)) await addOtherCommands(program, about);
  let runs = false;
  const commands = new Set([...program.commands.map((command) => command.name()), "help"]);
  try {
    const full = withRunCommand(args, commands);
    const chosen = program.commands.find((command) => command.name() === full[0]);
    const filled = chosen === undefined ? full : fillOptionalValues(full, chosen);
    if (full.length === 0) program.help({ error: true });
    runs = chosen !== undefined && !LOOKING.has(chosen.name());
    await program.parseAsync(filled, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 125;
      return false;
    }
    const { line, status } = explain(error, about.file);
    warn(line);
    process.exitCode = status;
  }
  if (runs && isThreadWaiting()) leaveWithThreadsWaiting(Number(process.exitCode));
  return runs;
}

const collect = (value: string, before: string[]): string[] => [...before, value];

function buildProgram(about: { file?: string }, memory: WebAssembly.Memory | undefined): Command {
  const program = new Command("goemu")
    .description("An x86-64 Linux machine that runs unmodified Go executables")
    .version(VERSION, "-v, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError("(goemu --help tells more)")
    .addHelpText("after", "\n`goemu [options] <program> [args…]` is short for `goemu run …`.");
  addGuestOptions(program.command("run"))
    .description("run a program (the default)")
    .argument("<program>", "a Linux/amd64 executable")
    .argument("[args...]", "the program's own arguments")
    .passThroughOptions()
    .exitOverride()
    .option(
      "--tier <TIER>",
      "auto (hot code is compiled), jit (all code, at first sight: for tests), or interpreter",
      "auto",
    )
    .option("--no-cache", "neither use nor keep translations of earlier runs")
    .option("--strace [FILE]", "print each system call on stderr, or to --strace=FILE")
    .option("--stats [FORMAT]", "print figures at exit on stderr; --stats=json for programs")
    .option(
      "--dump-region <ADDR>",
      "print the code compiled at an address or function on stderr, beside its instructions (may be repeated)",
      collect,
      [],
    )
    .addOption(new Option("--handover <FD>").hideHelp())
    .action(async (file: string, args: string[], options: RunOptions) => {
      about.file = file;
      const { run } = await import("./run.ts");
      process.exitCode = await run(file, args, { ...options, wasmMemory: memory });
    });
  return program;
}
