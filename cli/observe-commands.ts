import process from "node:process";
import { type Command, Option } from "commander";
import { NodeHost } from "../host/node/host.ts";
import { printable } from "../loader/identify.ts";
import { GoRuntimeError } from "../observe/go/layout.ts";
import { SchedulerEvents } from "../observe/go/scheduler-events.ts";
import { HtmlPage } from "../observe/html/page.ts";
import { OutputFile } from "../observe/output.ts";
import { ProbeError } from "../observe/probes.ts";
import { flameGraph } from "../observe/profile/flame.ts";
import { foldedStacks } from "../observe/profile/folded.ts";
import { pprofProfile } from "../observe/profile/pprof.ts";
import { Profiler } from "../observe/profile/profiler.ts";
import { printRoad, type RoadFilter, roadJson } from "../observe/road/print.ts";
import { Road } from "../observe/road/road.ts";
import { ChromeTrace } from "../observe/trace/chrome.ts";
import { GoTrace } from "../observe/trace/go-trace.ts";
import { Timeline } from "../observe/trace/timeline.ts";
import type { Machine } from "../syscalls/machine.ts";
import { parseChoice, parseCount } from "./arguments.ts";
import { childProcesses } from "./child-process.ts";
import { Ending } from "./end.ts";
import { CliError } from "./failure.ts";
import { createMachine, forwardSignals, type GuestOptions, shellStatus } from "./guest.ts";
import { addGuestOptions, sysrootOf } from "./guest-options.ts";
import { startedWith } from "./started-with.ts";
import { warn } from "./write.ts";

interface MachineOptions extends GuestOptions {
  readonly output?: string;
}

interface RoadOptions extends MachineOptions {
  readonly depth?: string;
  readonly only?: string;
  readonly follow?: string;
  readonly json?: boolean;
  readonly html?: boolean;
}

interface ProfileOptions extends MachineOptions {
  readonly format?: string;
  readonly byGoroutine?: boolean;
}

const STDOUT = 1;

/** Adds `goemu road`, `goemu trace` and `goemu profile`. @param about told which file a command is about */
export function addObserveCommands(program: Command, about: { file?: string }): void {
  const observe = (name: string, description: string): Command =>
    addGuestOptions(program.command(name))
      .description(description)
      .argument("<program>", "a Linux/amd64 executable made by Go")
      .argument("[args...]", "the program's own arguments")
      .passThroughOptions()
      .exitOverride();
  const act = <T extends MachineOptions>(
    command: Command,
    run: (file: string, args: string[], options: T) => Promise<number>,
  ) =>
    command.action(async (file: string, args: string[], options: T) => {
      about.file = file;
      process.exitCode = await explained(() => run(file, args, options));
    });
  act<RoadOptions>(
    observe("road", "run a Go program and print its road from the first instruction to each goroutine")
      .option("-o, --output <FILE>", "write to a file (default: standard output; the program's goes to standard error)")
      .option("--depth <N>", "deepest level to print")
      .option("--only <REGEX>", "only lines that match, with those above them")
      .option("--follow <FUNCTION>", "only what concerns the goroutines that start in a function, like main.work")
      .addOption(new Option("--json", "print a line of JSON for each line").conflicts("html"))
      .option("--html", "write one self-contained page with the tree and a timeline"),
    road,
  );
  act<MachineOptions>(
    observe("trace", "run a Go program and write a timeline of its threads, Ps and goroutines").requiredOption(
      "-o, --output <FILE>",
      "out.json for Perfetto and chrome://tracing, out.html for a page of its own, out.trace for `go tool trace`",
    ),
    trace,
  );
  act<ProfileOptions>(
    observe("profile", "run a Go program and count its instructions by function and line, exactly")
      .requiredOption(
        "-o, --output <FILE>",
        "out.pprof for `go tool pprof`, out.folded, out.svg or out.html for a flame graph",
      )
      .option("--format <FORMAT>", "pprof, folded, svg or html, whatever the file's name")
      .option("--by-goroutine", "put each goroutine's first function at the root of its stacks"),
    profile,
  );
}

/** Turns what observation can't do into a line for the user. */
async function explained(run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof GoRuntimeError || error instanceof ProbeError) throw new CliError(error.message);
    throw error;
  }
}

/** Where the result goes. Without a file it has standard output, and what the program prints goes to standard error. */
function openOutput(path: string | undefined): OutputFile {
  if (path === undefined) return new OutputFile(STDOUT);
  try {
    return new OutputFile(path);
  } catch (error) {
    throw new CliError(`-o: cannot write ${path}: ${(error as NodeJS.ErrnoException).code} (name another file)`);
  }
}

/** A machine whose program writes to stderr as long as stdout takes the command's own output. */
function observedMachine(
  file: string,
  args: readonly string[],
  options: MachineOptions,
): { machine: Machine; host: NodeHost } {
  const host = new NodeHost({
    processes: options.hostExec ? childProcesses(options) : undefined,
    inherited: startedWith(),
    sysroot: sysrootOf(options.sysroot),
  });
  if (options.output === undefined) Object.defineProperty(host, "stdout", { value: host.stderr });
  return { machine: createMachine(file, args, options, host), host };
}

/** Runs the machine to its end, with the host's signals; returns the exit status for the shell. */
async function runMachine(file: string, machine: Machine, host: NodeHost): Promise<number> {
  const stopForwarding = forwardSignals(machine);
  try {
    return shellStatus(file, await machine.run());
  } finally {
    stopForwarding();
    await new Ending(file).wait("send what the program has written", async () => host.close());
  }
}

/** Writes what was recorded, after the run: what can't be written is a line, and the status is the program's. */
function writeResult(file: string, path: string | undefined, output: OutputFile, work: () => void): void {
  new Ending(file).step(`write ${path ?? "standard output"}`, () => {
    try {
      work();
    } finally {
      output.close();
    }
  });
}

function roadFilter(options: RoadOptions, scheduler: SchedulerEvents): RoadFilter {
  let only: RegExp | undefined;
  try {
    only = options.only === undefined ? undefined : new RegExp(options.only);
  } catch (error) {
    throw new CliError(`--only: "${options.only}" is no regular expression: ${(error as Error).message}`);
  }
  const { follow } = options;
  if (follow !== undefined && scheduler.functionNamed(follow) === undefined) {
    const nearest = scheduler.machine.symbols.nearest(follow);
    throw new CliError(
      `--follow: no function ${follow}${nearest.length > 0 ? ` (did you mean ${nearest.join(", ")}?)` : ""}`,
    );
  }
  return {
    depth: options.depth === undefined ? undefined : parseCount("--depth", options.depth, 1_000_000),
    only,
    follow,
  };
}

/** `goemu road`. */
async function road(file: string, args: string[], options: RoadOptions): Promise<number> {
  const { machine, host } = observedMachine(file, args, options);
  const scheduler = new SchedulerEvents(machine);
  const filter = roadFilter(options, scheduler);
  const output = openOutput(options.output);
  const recorded = new Road(scheduler);
  const write = (text: string): void => output.write(text);
  const page = options.html ? new HtmlPage(write, `goemu road ${[file, ...args].join(" ")}`) : undefined;
  if (page !== undefined) new Timeline(scheduler, page);
  const status = await runMachine(file, machine, host);
  writeResult(file, options.output, output, () => {
    if (page !== undefined) {
      for (const node of recorded.nodes) page.node(node);
      page.meta({
        summary: `${machine.process.instructions.toLocaleString("en")} instructions, ${machine.symbols.goVersion}`,
      });
      page.close();
    } else {
      const colour = options.output === undefined && process.stdout.isTTY && !process.env.NO_COLOR;
      const lines = options.json ? roadJson(recorded, filter) : printRoad(recorded, filter, colour);
      for (const line of lines) write(`${line}\n`);
    }
  });
  return status;
}

/** `goemu trace`. */
async function trace(file: string, args: string[], options: MachineOptions): Promise<number> {
  const path = options.output as string;
  const kind = /\.(html|json|trace)$/i.exec(path)?.[1].toLowerCase();
  if (kind === undefined) {
    throw new CliError(`-o: ${path} is neither .json, .html nor .trace (name it by what it is to be)`);
  }
  const { machine, host } = observedMachine(file, args, options);
  const scheduler = new SchedulerEvents(machine);
  const output = openOutput(path);
  const write = (text: string): void => output.write(text);
  if (kind === "trace") {
    const recorded = new GoTrace(scheduler, (bytes) => output.writeBytes(bytes));
    try {
      return await runMachine(file, machine, host);
    } finally {
      writeResult(file, path, output, () => recorded.close());
    }
  }
  const sink =
    kind === "html" ? new HtmlPage(write, `goemu trace ${[file, ...args].join(" ")}`) : new ChromeTrace(write);
  const timeline = new Timeline(scheduler, sink);
  try {
    return await runMachine(file, machine, host);
  } finally {
    writeResult(file, path, output, () => {
      timeline.close();
      sink.close();
    });
  }
}

const PROFILE_FORMATS = ["pprof", "folded", "svg", "html"] as const;

function profileFormat(path: string, format: string | undefined): (typeof PROFILE_FORMATS)[number] {
  if (format !== undefined) return parseChoice("--format", format, PROFILE_FORMATS);
  const extension = /\.(\w+)$/.exec(path)?.[1].toLowerCase();
  return PROFILE_FORMATS.find((known) => known === extension) ?? "pprof";
}

/** `goemu profile`. */
async function profile(file: string, args: string[], options: ProfileOptions): Promise<number> {
  const path = options.output as string;
  const format = profileFormat(path, options.format);
  const { machine, host } = observedMachine(file, args, options);
  const profiler = new Profiler(machine, { byGoroutine: options.byGoroutine ?? false });
  const output = openOutput(path);
  const status = await runMachine(file, machine, host);
  writeResult(file, path, output, () => {
    const counted = profiler.finish();
    if (profiler.problem !== undefined) warn(`goemu: ${printable(file)}: profile: ${printable(profiler.problem)}`);
    const title = `goemu profile ${[file, ...args].join(" ")}`;
    if (format === "pprof") output.writeBytes(pprofProfile(counted));
    else if (format === "folded") for (const piece of foldedStacks(counted)) output.writeBytes(piece);
    else output.write(flameGraph(counted, title, format));
  });
  return status;
}
