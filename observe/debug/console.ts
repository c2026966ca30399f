import { GuestFault } from "../../emu/memory/guest-memory.ts";
import { SymbolError } from "../../loader/errors.ts";
import { SIGNAL, signalName } from "../../syscalls/abi/signals.ts";
import type { ExitStatus } from "../../syscalls/linux-process.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { Machine } from "../../syscalls/machine.ts";
import { peek } from "../../syscalls/memory/peek.ts";
import { Strace } from "../../syscalls/strace/strace.ts";
import { SYSCALLS } from "../../syscalls/syscalls.ts";
import { Debugger } from "../debugger/debugger.ts";
import type { StopEvent } from "../debugger/events.ts";
import { describeThread, goRuntimeOf, goroutineLines, schedulerLines } from "../debugger/go-view.ts";
import { REGISTERS } from "../debugger/registers.ts";
import { MAX_WATCH_LENGTH } from "../debugger/watchpoints.ts";
import { GoRuntimeError } from "../go/layout.ts";
import type { GoRuntime } from "../go/runtime.ts";
import { type Frame, walkStack } from "../go/stack.ts";
import { ProbeError } from "../probes.ts";
import { dumpLines, hex, numberOf, parseDumpFormat, registerLines, stringAt } from "./format.ts";
import { listing } from "./listing.ts";
import { SourceView } from "./source.ts";
import { Stepper } from "./stepper.ts";

/** Something that the user asked for and that can't be; the message is for them. */
export class ConsoleError extends Error {}

/** A command: what it is called, what it takes, what it does. */
interface Command {
  readonly names: readonly string[];
  readonly usage: string;
  readonly help: string;
  run(argument: string): void | Promise<void>;
}

interface Breakpoint {
  readonly number: number;
  readonly address: number;
  /** Set for a watchpoint. */
  readonly watch?: { readonly kind: "write" | "read" | "access"; readonly length: number };
  readonly text: string;
}

/** Signals that stop the console's guest: those of faults and traps. Others are delivered. */
const STOPPING: ReadonlySet<number> = new Set([
  SIGNAL.SIGSEGV,
  SIGNAL.SIGBUS,
  SIGNAL.SIGFPE,
  SIGNAL.SIGILL,
  SIGNAL.SIGTRAP,
  SIGNAL.SIGABRT,
]);
const MAX_DUMP = 0x1_0000;
/** Frames of `bt` unless asked for more. */
const FRAMES = 50;

/** An interactive debugger for a machine that stands still: takes lines, prints lines. */
export class DebugConsole {
  readonly #machine: Machine;
  readonly #debug: Debugger;
  readonly #source: SourceView;
  readonly #stepper: Stepper;
  readonly #print: (line: string) => void;
  readonly #commands: readonly Command[];
  readonly #breakpoints: Breakpoint[] = [];
  #nextNumber = 1;
  #thread: LinuxThread;
  /** Signal that the thread gets when it goes on. */
  #signal = 0;
  /** Where `x` goes on. */
  #nextDump = 0;
  #finished = false;

  /** Takes hold of a machine that has not run yet; it stands still until a command lets it go. */
  constructor(machine: Machine, print: (line: string) => void) {
    this.#machine = machine;
    this.#print = print;
    this.#debug = new Debugger(machine);
    this.#debug.passSignals = new Set([...Array(65).keys()].filter((signal) => !STOPPING.has(signal)));
    this.#source = new SourceView(machine);
    this.#stepper = new Stepper(this.#debug, this.#source);
    this.#thread = machine.mainThread;
    this.#commands = this.#makeCommands();
    this.#debug.interrupt();
  }

  /** Is the guest's end reached? */
  get finished(): boolean {
    return this.#finished;
  }

  /** Stops a guest that runs. */
  interrupt(): void {
    this.#debug.interrupt();
  }

  /** To be called when the machine's run has ended. */
  exited(status: ExitStatus): void {
    this.#finished = true;
    this.#debug.exited(status);
  }

  /** Where the guest stands: for the first prompt. */
  greet(): void {
    this.#print(
      `stopped before the first instruction, at ${this.#source.describe(this.#thread.cpu.rip)}; "help" lists the commands`,
    );
  }

  /** Carries out a line; errors are printed. */
  async execute(line: string): Promise<void> {
    const [, name, argument] = /^\s*(\S*)\s*(.*?)\s*$/s.exec(line) ?? ["", "", ""];
    if (name === "" || name.startsWith("#")) return;
    const [word, suffix] = /^x\/\S+$/.test(name) ? ["x", name.slice(1)] : [name, ""];
    const command = this.#commands.find(({ names }) => names.includes(word));
    if (command === undefined) {
      this.#print(`no command "${name}" ("help" lists them)`);
      return;
    }
    try {
      await command.run(suffix === "" ? argument : `${suffix} ${argument}`);
    } catch (error) {
      if (!isExpected(error)) throw error;
      this.#print(error.message);
    }
  }

  /** Words that could follow, for completion with the Tab key: commands, then function names. */
  complete(line: string): [string[], string] {
    const words = line.split(/\s+/);
    const last = words[words.length - 1];
    const candidates =
      words.length <= 1
        ? this.#commands.map(({ names }) => names[0])
        : this.#machine.symbols.functions.map(({ name }) => name);
    return [candidates.filter((name) => name.startsWith(last)).slice(0, 100), last];
  }

  // Commands.

  #makeCommands(): Command[] {
    const command = (names: string, usage: string, help: string, run: Command["run"]): Command => ({
      names: names.split(" "),
      usage,
      help,
      run,
    });
    return [
      command("break b", "PLACE", "stop at a function, FILE:LINE or *ADDRESS", (at) => this.#break(at)),
      command("watch", "PLACE [LENGTH]", "stop when memory is written", (at) => this.#watch(at, "write")),
      command("rwatch", "PLACE [LENGTH]", "stop when memory is read", (at) => this.#watch(at, "read")),
      command("awatch", "PLACE [LENGTH]", "stop when memory is read or written", (at) => this.#watch(at, "access")),
      command("delete d", "[NUMBER]", "take a breakpoint or watchpoint away, or all", (which) => this.#delete(which)),
      command("info", "", "list breakpoints and watchpoints", () => this.#listBreakpoints()),
      command("catch", "[NAME|off]", "stop at system calls, of one name or all", (name) => this.#catch(name)),
      command("continue c", "", "run on", () => this.#run(() => this.#stepper.resume((t) => this.#goOn(t)))),
      command("step s", "", "run to the next line, into calls", () =>
        this.#run(() => this.#stepper.line(this.#thread, true)),
      ),
      command("next n", "", "run to the next line, over calls", () =>
        this.#run(() => this.#stepper.line(this.#thread, false)),
      ),
      command("stepi si", "[COUNT]", "run one instruction", (count) => this.#stepInstructions(count)),
      command("finish", "", "run until the function returns", () => this.#finish()),
      command("regs", "", "registers", () => this.#lines(registerLines(this.#thread, this.#debug))),
      command("print p", "$REGISTER|SYMBOL", "a register, or the address of a symbol", (what) =>
        this.#printValue(what),
      ),
      command("set", "$REGISTER VALUE", "change a register", (what) => this.#set(what)),
      command("x", "[/COUNT FORMAT UNIT] [PLACE]", "memory: formats x d u c s i, units b h w g", (what) =>
        this.#dump(what),
      ),
      command("disas", "[PLACE]", "code with jumps drawn; of the current function without a place", (at) =>
        this.#disassemble(at),
      ),
      command("bt", "[FRAMES]", "the stack of the thread", (count) => this.#backtrace(count)),
      command("threads", "", "threads, with their M, P and goroutine", () => this.#listThreads()),
      command("thread", "TID", "choose a thread", (tid) => this.#chooseThread(tid)),
      command("goroutines", "", "every goroutine", () => this.#lines(goroutineLines(this.#go(), this.#machine))),
      command("goroutine", "ID", "the stack of a goroutine", (id) => this.#goroutine(id)),
      command("sched", "", "the Go scheduler at this instant", () =>
        this.#lines(schedulerLines(this.#go(), this.#machine)),
      ),
      command("strace", "on|off", "print system calls", (word) => this.#strace(word)),
      command("help h", "", "this list", () => this.#help()),
      command("quit q", "", "end the program and goemu", () => this.quit()),
    ];
  }

  #lines(lines: readonly string[]): void {
    for (const line of lines) this.#print(line);
  }

  #help(): void {
    for (const { names, usage, help } of this.#commands) {
      this.#print(`${`${names.join(", ")} ${usage}`.padEnd(36)} ${help}`);
    }
  }

  /** Ends the guest. */
  quit(): void {
    this.#finished = true;
    this.#debug.detach();
    this.#machine.process.exit(0);
  }

  #go(): GoRuntime {
    const runtime = goRuntimeOf(this.#machine);
    if (typeof runtime === "string") throw new ConsoleError(runtime);
    return runtime;
  }

  // Places.

  /** An address: *ADDRESS or a number, $register, FILE:LINE, a function or a variable. */
  #place(text: string): number {
    const plain = text.replace(/^\*/, "");
    const number = parseNumber(plain);
    if (number !== undefined) return number;
    if (plain.startsWith("$")) return Number(this.#register(plain));
    const line = /^(.*):(\d+)$/.exec(plain);
    if (line !== null) {
      const address = this.#source.addressOfLine(line[1], Number(line[2]));
      if (address === undefined) throw new ConsoleError(`no code of line ${plain}`);
      return address;
    }
    const { symbols } = this.#machine;
    const func = symbols.byName(plain);
    if (func !== undefined) return func.address;
    const near = symbols.nearest(plain);
    throw new ConsoleError(`no function ${plain}${near.length > 0 ? ` (did you mean ${near.join(", ")}?)` : ""}`);
  }

  #register(name: string): bigint {
    const wanted = name.slice(1).replace(/^pc$/, "rip").replace(/^sp$/, "rsp");
    const register = REGISTERS.find((candidate) => candidate.name === wanted);
    if (register === undefined) throw new ConsoleError(`no register ${wanted}`);
    return numberOf(register.read(this.#thread, this.#debug));
  }

  // Breakpoints.

  #break(text: string): void {
    const address = this.#place(need(text, "break needs a place: a function, FILE:LINE or *ADDRESS"));
    this.#debug.setBreakpoint(address);
    const breakpoint = { number: this.#nextNumber++, address, text };
    this.#breakpoints.push(breakpoint);
    this.#print(`breakpoint ${breakpoint.number} at ${hex(address)}: ${this.#source.describe(address)}`);
  }

  #watch(text: string, kind: "write" | "read" | "access"): void {
    const [place, lengthText] = need(text, "watch needs a place: ADDRESS or $REGISTER, and a length in bytes").split(
      /\s+/,
    );
    const address = this.#place(place);
    const length = lengthText === undefined ? 8 : (parseNumber(lengthText) ?? 0);
    if (length < 1 || length > MAX_WATCH_LENGTH)
      throw new ConsoleError(`a watchpoint has from 1 to ${MAX_WATCH_LENGTH} bytes`);
    this.#debug.setWatchpoint({ address, length, kind });
    const watchpoint = { number: this.#nextNumber++, address, watch: { kind, length }, text };
    this.#breakpoints.push(watchpoint);
    this.#print(`watchpoint ${watchpoint.number} (${kind}) at ${hex(address)}, ${length} bytes`);
  }

  #delete(text: string): void {
    const number = text === "" ? undefined : parseNumber(text);
    const chosen = this.#breakpoints.filter((breakpoint) => text === "" || breakpoint.number === number);
    if (chosen.length === 0) throw new ConsoleError(text === "" ? "no breakpoints" : `no breakpoint ${text}`);
    for (const { address, watch, number: which } of chosen) {
      if (watch === undefined) this.#debug.removeBreakpoint(address);
      else this.#debug.watchpoints.remove({ address, ...watch });
      this.#breakpoints.splice(
        this.#breakpoints.findIndex((other) => other.number === which),
        1,
      );
    }
  }

  #listBreakpoints(): void {
    if (this.#breakpoints.length === 0) this.#print("no breakpoints");
    for (const { number, address, watch } of this.#breakpoints) {
      const what =
        watch === undefined ? this.#source.describe(address) : `${watch.kind} watchpoint, ${watch.length} bytes`;
      this.#print(`${number}  ${hex(address)}  ${what}`);
    }
  }

  #catch(name: string): void {
    if (name === "off") this.#debug.catchSyscalls = new Set();
    else if (name === "") this.#debug.catchSyscalls = "all";
    else {
      const row = SYSCALLS.find((candidate) => candidate?.name === name);
      if (row === undefined) throw new ConsoleError(`no system call ${name}`);
      this.#debug.catchSyscalls = new Set([row.number]);
    }
  }

  // Running.

  #goOn(thread: LinuxThread): { kind: "continue"; signal?: number } {
    return thread === this.#thread && this.#signal !== 0
      ? { kind: "continue", signal: this.#signal }
      : { kind: "continue" };
  }

  async #run(go: () => Promise<StopEvent>): Promise<void> {
    const event = await go();
    this.#signal = 0;
    if ("thread" in event) this.#thread = event.thread;
    this.#tell(event);
  }

  #tell(event: StopEvent): void {
    if (event.kind === "exited") {
      const { status } = event;
      const how =
        status.kind === "exited" ? `exited with status ${status.status}` : `was killed by ${signalName(status.signal)}`;
      this.#print(`the program ${how}`);
      return;
    }
    if (event.kind === "noResumed") return;
    const { thread } = event;
    const where = `thread ${thread.tid} (${describeThread(this.#machine, thread)}) at ${hex(thread.cpu.rip)} ${this.#source.describe(thread.cpu.rip)}`;
    this.#print(`${this.#reason(event)}${where}`);
    const [line] = listing(this.#source, {
      start: thread.cpu.rip,
      length: 16,
      most: 1,
      current: { rip: thread.cpu.rip, rflags: thread.cpu.rflags },
      hasBreakpoint: (address) => this.#debug.hasBreakpoint(address),
    });
    if (line !== undefined) this.#print(line);
  }

  #reason(event: StopEvent): string {
    switch (event.kind) {
      case "breakpoint": {
        const found = this.#breakpoints.find(({ address, watch }) => address === event.address && watch === undefined);
        return `breakpoint ${found?.number ?? ""}: `;
      }
      case "watchpoint":
        return `${event.watch} of ${hex(event.address)}: `;
      case "signal":
        this.#signal = event.info.signal;
        return `${signalName(event.info.signal)}: `;
      case "syscallEntry":
        return `before ${SYSCALLS[event.number]?.name ?? `system call ${event.number}`}: `;
      case "syscallReturn":
        return `after ${SYSCALLS[event.number]?.name ?? `system call ${event.number}`}: `;
      case "interrupt":
        return "interrupted: ";
      default:
        return "";
    }
  }

  async #stepInstructions(text: string): Promise<void> {
    const count = text === "" ? 1 : parseNumber(text);
    if (count === undefined || count < 1) throw new ConsoleError(`"${text}" is no number of instructions`);
    let event: StopEvent | undefined;
    for (let i = 0; i < count; i++) {
      event = await this.#stepper.instruction(this.#thread, this.#signal);
      this.#signal = 0;
      if (event.kind !== "step") break;
      this.#thread = event.thread;
    }
    const last = event as StopEvent;
    if ("thread" in last) this.#thread = last.thread;
    this.#tell(last);
  }

  async #finish(): Promise<void> {
    const caller = this.#frames(this.#thread).find((_, i, all) => i > 0 && !all[i - 1].inlined);
    if (caller === undefined) throw new ConsoleError("nothing called this function");
    await this.#run(async () => {
      const end = await this.#stepper.runTo(this.#thread, caller.pc, caller.sp);
      return "event" in end ? end.event : { kind: "step", thread: end.thread };
    });
  }

  // Looking.

  #frames(thread: LinuxThread, limit?: number): Frame[] {
    const { cpu } = thread;
    const start = { pc: cpu.rip, sp: Number(cpu.gpr[4]), bp: Number(cpu.gpr[5]) };
    return walkStack(this.#machine.memory, this.#machine.symbols, start, limit);
  }

  #printFrames(frames: readonly Frame[]): void {
    for (const [i, { pc, name, file, line, inlined }] of frames.entries()) {
      const place = file === undefined ? "" : ` at ${file}:${line}`;
      this.#print(`#${String(i).padEnd(3)} ${hex(pc)} ${name ?? "?"}${inlined ? " (inlined)" : ""}${place}`);
    }
  }

  #backtrace(text: string): void {
    const limit = text === "" ? FRAMES : parseNumber(text);
    if (limit === undefined) throw new ConsoleError(`"${text}" is no number of frames`);
    this.#printFrames(this.#frames(this.#thread, limit));
  }

  #goroutine(text: string): void {
    const runtime = this.#go();
    const found = runtime.goroutines().find(({ id }) => String(id) === text);
    if (found === undefined) throw new ConsoleError(`no goroutine ${text} ("goroutines" lists them)`);
    this.#printFrames(runtime.stack(found.address, FRAMES));
  }

  #listThreads(): void {
    for (const thread of this.#debug.threads) {
      const call = this.#debug.syscallOf(thread);
      const waits = call === undefined ? "" : `, in ${SYSCALLS[call.number]?.name ?? `system call ${call.number}`}`;
      const mark = thread === this.#thread ? "*" : " ";
      this.#print(`${mark} ${thread.tid}  ${thread.name}  ${describeThread(this.#machine, thread)}${waits}`);
    }
  }

  #chooseThread(text: string): void {
    const thread = this.#debug.process.threadById(parseNumber(text) ?? -1);
    if (thread === undefined) throw new ConsoleError(`no thread ${text} ("threads" lists them)`);
    this.#thread = thread;
    this.#print(describeThread(this.#machine, thread));
  }

  #printValue(text: string): void {
    if (!text.startsWith("$")) {
      this.#print(hex(this.#place(need(text, "print needs $REGISTER or a symbol"))));
      return;
    }
    const value = this.#register(text);
    this.#print(`${hex(value)} ${BigInt.asIntN(64, value)}`);
  }

  #set(text: string): void {
    const [name, valueText] = text.split(/[\s=]+/);
    const number = REGISTERS.findIndex((register) => `$${register.name}` === name);
    const value = /^-?(0x[0-9a-f]+|\d+)$/i.test(valueText ?? "") ? BigInt(valueText) : undefined;
    if (number < 0 || value === undefined) throw new ConsoleError("set needs $REGISTER and a number");
    const bytes = new Uint8Array(Math.max(8, REGISTERS[number].bits / 8));
    new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
    REGISTERS[number].write(this.#thread, bytes.subarray(0, REGISTERS[number].bits / 8));
  }

  #dump(text: string): void {
    const [, formatText, place] = /^(\/\S*)?\s*(.*)$/.exec(text) ?? ["", undefined, ""];
    const format = parseDumpFormat(formatText ?? "");
    if (format === undefined) throw new ConsoleError(`"${formatText}" is no format (write /8xg, /20i, /s)`);
    const address = place === "" ? this.#nextDump : this.#place(place);
    if (format.format === "i") {
      this.#nextDump = address + this.#list(address, format.count * 15, format.count);
      return;
    }
    const length = format.format === "s" ? 256 : Math.min(format.count * format.unit, MAX_DUMP);
    const bytes = peek(this.#machine.memory, address, length);
    if (bytes.length === 0) throw new ConsoleError(`nothing is mapped at ${hex(address)}`);
    if (format.format === "s") this.#print(`${hex(address)}:  ${stringAt(bytes)}`);
    else this.#lines(dumpLines(address, bytes, format));
    this.#nextDump = address + length;
  }

  #disassemble(text: string): void {
    const address = text === "" ? this.#thread.cpu.rip : this.#place(text);
    const func = this.#source.function(address);
    const start = func?.address ?? address;
    if (this.#list(start, func?.size ?? 64) === 0) throw new ConsoleError(`nothing is mapped at ${hex(address)}`);
  }

  /** Prints code; returns how many bytes of it. */
  #list(start: number, length: number, most?: number): number {
    const { rip, rflags } = this.#thread.cpu;
    const hasBreakpoint = (address: number): boolean => this.#debug.hasBreakpoint(address);
    this.#lines(listing(this.#source, { start, length, most, current: { rip, rflags }, hasBreakpoint }));
    return [...this.#source.instructions(start, length)].slice(0, most).reduce((sum, code) => sum + code.length, 0);
  }

  #strace(word: string): void {
    if (word !== "on" && word !== "off") throw new ConsoleError("strace needs on or off");
    this.#machine.process.strace = word === "on" ? new Strace((line) => this.#print(line)) : undefined;
  }
}

function isExpected(error: unknown): error is Error {
  return [ConsoleError, ProbeError, SymbolError, GoRuntimeError, GuestFault].some((kind) => error instanceof kind);
}

function need(text: string, message: string): string {
  if (text === "") throw new ConsoleError(message);
  return text;
}

function parseNumber(text: string): number | undefined {
  return /^(0x[0-9a-f]{1,13}|\d{1,15})$/i.test(text) ? Number(text) : undefined;
}
