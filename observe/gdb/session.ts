import { GuestFault } from "../../emu/memory/guest-memory.ts";
import { MemoryError } from "../../emu/memory/memory-error.ts";
import { SymbolError } from "../../loader/errors.ts";
import { SIGNAL, SIGRTMAX } from "../../syscalls/abi/signals.ts";
import { peek } from "../../syscalls/memory/peek.ts";
import type { Debugger } from "../debugger/debugger.ts";
import type { StopEvent, WatchKind } from "../debugger/events.ts";
import { REGISTERS, registerNumber } from "../debugger/registers.ts";
import { MAX_WATCH_LENGTH } from "../debugger/watchpoints.ts";
import { GoRuntimeError } from "../go/layout.ts";
import { ProbeError } from "../probes.ts";
import { byteHex, littleEndian, parseHex, parseList, prefixed } from "./encoding.ts";
import { RemoteFiles } from "./files.ts";
import { processInfo, QUIET_SIGNALS, registerInfo, splitThreadSuffix } from "./lldb.ts";
import {
  bytesOf,
  escapeBinary,
  frame,
  fromHex,
  type Incoming,
  PACKET_SIZE,
  PacketReader,
  textOf,
  toHex,
} from "./packets.ts";
import { actionFor, parseThreadId, parseVCont, type Resumption } from "./resume.ts";
import { gdbSignal, linuxSignal } from "./signals.ts";
import type { DebugThread, ThreadModel } from "./threads.ts";
import { type TransferView, transfer } from "./transfer.ts";

/** Where a session's bytes go. */
export interface Connection {
  send(bytes: Uint8Array): void;
  close(): void;
}

export interface SessionOptions {
  readonly debug: Debugger;
  readonly threads: ThreadModel;
  readonly connection: Connection;
  /** Whether the client found the program running already: it is then left running at the end (qAttached). */
  readonly attached: boolean;
  /** Answers `monitor` commands. */
  readonly monitor?: (command: string) => string;
  /** Distance between where the image is linked and where it lies. */
  readonly bias: number;
}

const OK = "OK";
const UNSUPPORTED = "";
/** Error replies; gdb shows the number only. */
const E_FAULT = "E0e";
const E_INVALID = "E16";
const E_NO_THREAD = "E03";

const FEATURES = [
  `PacketSize=${PACKET_SIZE.toString(16)}`,
  ...["QStartNoAckMode+", "multiprocess+", "swbreak+", "hwbreak+", "vContSupported+", "QPassSignals+"],
  ...["QProgramSignals+", "QCatchSyscalls+", "no-resumed+", "binary-upload+", "qXfer:features:read+"],
  ...["qXfer:auxv:read+", "qXfer:exec-file:read+", "qXfer:threads:read+", "qXfer:siginfo:read+"],
].join(";");

const GDB_SIGTRAP = 5;
const GDB_SIGINT = 2;
const WATCH_REPLY: Record<WatchKind, string> = { write: "watch", read: "rwatch", access: "awatch" };
const WATCH_KINDS: readonly WatchKind[] = ["write", "read", "access"];
/** Registers that come along with each stop. */
const EXPEDITED = ["rbp", "rsp", "rip"].map(registerNumber);

/** A query's name and arguments. Two of lldb's have no separator between them. */
const QUERY = /^((?:RegisterInfo|ThreadStopInfo)(?=[0-9a-f])|[A-Za-z]+)[:,;]?(.*)$/s;

const hex = (value: number | bigint): string => value.toString(16);

/** One client of the debug server: gdb's remote serial protocol (gdb manual, "Remote Protocol"). */
export class Session {
  readonly #options: SessionOptions;
  readonly #debug: Debugger;
  readonly #reader = new PacketReader();
  readonly #files: RemoteFiles;
  /** Thread of `g`, `p`, `m` … (Hg) and of `c`, `s` (Hc); undefined for whichever stopped last. */
  #general: number | undefined;
  #resumed: number | undefined;
  #acknowledge = true;
  #multiprocess = false;
  #noResumed = false;
  #swbreak = false;
  /** The reply that the client waits for, while the guest runs. */
  #stopAwaited = false;
  #lastStop: string | undefined;
  #lastSent: Uint8Array = new Uint8Array();
  /** Addresses of Z1 breakpoints. */
  readonly #hardware = new Map<number, number>();
  /** The client speaks lldb's dialect (QThreadSuffixSupported): Linux's signal numbers, threads named in packets. */
  #lldb = false;
  #listThreads = false;
  #closed = false;
  /** Has the client let go of the guest (D)? */
  detached = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#debug = options.debug;
    this.#files = new RemoteFiles(options.debug.process);
    this.#debug.listener = (event) => this.#stopped(event);
  }

  /** Has the client said goodbye, or killed the guest? */
  get closed(): boolean {
    return this.#closed;
  }

  /** Takes bytes from the client. */
  receive(bytes: Uint8Array): void {
    for (const incoming of this.#reader.read(bytes)) {
      if (this.#closed) return;
      this.#take(incoming);
    }
  }

  /** The client is gone. */
  end(): void {
    this.#closed = true;
    this.#files.close();
    this.#debug.listener = () => {};
  }

  #take(incoming: Incoming): void {
    switch (incoming.kind) {
      case "interrupt":
        this.#debug.interrupt();
        return;
      case "nak":
        if (this.#acknowledge) this.#options.connection.send(this.#lastSent);
        return;
      case "broken":
        // Without acknowledgements there is no asking again: the packet was something unknown.
        if (this.#acknowledge) this.#options.connection.send(bytesOf("-"));
        else this.#send(UNSUPPORTED);
        return;
      case "ack":
        return;
      case "packet": {
        if (this.#acknowledge) this.#options.connection.send(bytesOf("+"));
        const reply = this.#reply(incoming.data);
        if (reply !== undefined) this.#send(reply);
      }
    }
  }

  #send(reply: string | Uint8Array): void {
    this.#lastSent = frame(typeof reply === "string" ? bytesOf(reply) : reply);
    this.#options.connection.send(this.#lastSent);
  }

  /** The reply to a packet; undefined if it comes later, or never. */
  #reply(data: Uint8Array): string | Uint8Array | undefined {
    const { text, thread } = this.#lldb ? splitThreadSuffix(textOf(data)) : { text: textOf(data), thread: undefined };
    if (thread !== undefined && this.#selectThread(`g${thread}`) !== OK) return E_NO_THREAD;
    try {
      return this.#dispatch(text, data);
    } catch (error) {
      const expected = [GuestFault, ProbeError, GoRuntimeError, SymbolError, MemoryError];
      if (expected.some((kind) => error instanceof kind)) return E_FAULT;
      throw error;
    }
  }

  #dispatch(text: string, data: Uint8Array): string | Uint8Array | undefined {
    const rest = text.slice(1);
    switch (text[0]) {
      case "?":
        return this.#whyStopped();
      case "g":
        return this.#readAll();
      case "G":
        return this.#writeAll(rest);
      case "p":
        return this.#readOne(rest);
      case "P":
        return this.#writeOne(rest);
      case "m":
      case "x":
        return this.#readMemory(rest, text[0] === "x");
      case "M":
        return this.#writeMemory(rest, fromHex(rest.slice(rest.indexOf(":") + 1)));
      case "X":
        return this.#writeMemory(rest, data.subarray(text.indexOf(":") + 1));
      case "Z":
      case "z":
        return this.#point(text[0] === "Z", rest);
      case "H":
        return this.#selectThread(rest);
      case "T":
        return this.#find(rest) === undefined ? E_NO_THREAD : OK;
      case "c":
      case "s":
      case "C":
      case "S":
        return this.#resumeOld(text[0], rest);
      case "D":
        return this.#detach();
      case "k":
        this.#kill();
        return undefined;
      case "v":
        return this.#verbose(rest);
      case "q":
        return this.#query(rest);
      case "Q":
        return this.#set(rest);
      default:
        return UNSUPPORTED;
    }
  }

  // Threads.

  #id(id: number): string {
    return this.#multiprocess ? `p${hex(this.#debug.process.pid)}.${hex(id)}` : hex(id);
  }

  #threadIds(): string {
    return this.#threads
      .list()
      .map(({ id }) => this.#id(id))
      .join(",");
  }

  get #threads(): ThreadModel {
    return this.#options.threads;
  }

  /** The thread that registers and memory are read for. */
  #current(): DebugThread | undefined {
    if (this.#general !== undefined) return this.#threads.find(this.#general);
    const event = this.#debug.lastEvent;
    if (event !== undefined && "thread" in event && this.#debug.process.threadById(event.thread.tid) !== undefined) {
      return this.#threads.of(event.thread);
    }
    return this.#threads.list()[0];
  }

  #find(text: string): DebugThread | undefined {
    const selector = parseThreadId(text);
    if (selector === undefined) return undefined;
    return typeof selector === "number" ? this.#threads.find(selector) : this.#current();
  }

  #selectThread(text: string): string {
    const selector = parseThreadId(text.slice(1));
    if (selector === undefined) return E_INVALID;
    const id = typeof selector === "number" ? selector : undefined;
    if (id !== undefined && this.#threads.find(id) === undefined) return E_NO_THREAD;
    if (text[0] === "g") this.#general = id;
    else if (text[0] === "c") this.#resumed = id;
    else return UNSUPPORTED;
    return OK;
  }

  // Registers.

  #readAll(): string {
    const thread = this.#current();
    if (thread === undefined) return E_NO_THREAD;
    return REGISTERS.map((_, number) => this.#registerHex(thread, number)).join("");
  }

  #registerHex(thread: DebugThread, number: number): string {
    const bytes = thread.read(number);
    return bytes === undefined ? "xx".repeat(REGISTERS[number].bits / 8) : toHex(bytes);
  }

  #writeAll(text: string): string {
    const thread = this.#current();
    const bytes = fromHex(text);
    const length = REGISTERS.reduce((sum, { bits }) => sum + bits / 8, 0);
    if (thread === undefined) return E_NO_THREAD;
    if (bytes?.length !== length) return E_INVALID;
    let at = 0;
    for (const [number, { bits }] of REGISTERS.entries()) {
      thread.write(number, bytes.subarray(at, at + bits / 8));
      at += bits / 8;
    }
    return OK;
  }

  #readOne(text: string): string {
    const number = parseHex(text);
    const thread = this.#current();
    if (thread === undefined) return E_NO_THREAD;
    return number === undefined || REGISTERS[number] === undefined ? E_INVALID : this.#registerHex(thread, number);
  }

  #writeOne(text: string): string {
    const [numberText, value] = text.split("=");
    const number = parseHex(numberText);
    const bytes = fromHex(value ?? "");
    const thread = this.#current();
    if (thread === undefined) return E_NO_THREAD;
    if (number === undefined || REGISTERS[number]?.bits !== (bytes?.length ?? 0) * 8) return E_INVALID;
    return thread.write(number, bytes as Uint8Array) ? OK : E_INVALID;
  }

  // Memory.

  #readMemory(text: string, binary: boolean): string | Uint8Array {
    const [address, length] = text.split(",").map(parseHex);
    if (address === undefined || length === undefined) return E_INVALID;
    if (binary && this.#lldb && length === 0) return OK;
    const bytes = peek(this.#debug.process.memory, address, Math.min(length, PACKET_SIZE / 2 - 16));
    if (bytes.length === 0 && length > 0) return E_FAULT;
    if (binary) return this.#lldb ? escapeBinary(bytes) : prefixed("b", escapeBinary(bytes));
    return toHex(bytes);
  }

  #writeMemory(text: string, bytes: Uint8Array | undefined): string {
    const [address, length] = text.slice(0, text.indexOf(":")).split(",").map(parseHex);
    if (address === undefined || bytes === undefined || bytes.length !== length) return E_INVALID;
    this.#debug.process.memory.poke(address, bytes);
    return OK;
  }

  // Breakpoints and watchpoints.

  #point(set: boolean, text: string): string {
    const [type, addressText, lengthText] = text.split(";")[0].split(",");
    const address = parseHex(addressText);
    const length = parseHex(lengthText);
    if (address === undefined || length === undefined) return E_INVALID;
    const kind = Number(type);
    if (kind === 0 || kind === 1) return this.#breakpoint(set, address, kind === 1);
    const watch = WATCH_KINDS[kind - 2];
    if (watch === undefined) return UNSUPPORTED;
    if (length === 0 || length > MAX_WATCH_LENGTH) return E_INVALID;
    const watchpoint = { address, length, kind: watch };
    if (set) this.#debug.setWatchpoint(watchpoint);
    else this.#debug.watchpoints.remove(watchpoint);
    return OK;
  }

  #breakpoint(set: boolean, address: number, hardware: boolean): string {
    if (set) this.#debug.setBreakpoint(address);
    else this.#debug.removeBreakpoint(address);
    if (hardware) this.#hardware.set(address, (this.#hardware.get(address) ?? 0) + (set ? 1 : -1));
    return OK;
  }

  // Going on and stopping.

  #resume(resumptions: readonly Resumption[]): undefined {
    this.#stopAwaited = true;
    this.#general = undefined;
    this.#threads.resume((id) => actionFor(resumptions, id));
    return undefined;
  }

  /** `c`, `s`, `C`, `S` with an address or a signal: what clients without vCont use. */
  #resumeOld(command: string, text: string): string | undefined {
    const step = command.toLowerCase() === "s";
    const withSignal = command === "C" || command === "S";
    const [signalText, addressText] = withSignal ? text.split(";") : ["00", text];
    const address = addressText ? parseHex(addressText) : undefined;
    const gdb = parseHex(signalText);
    const signal = gdb === undefined ? undefined : gdb === 0 ? 0 : this.#signalFrom(gdb);
    const thread = this.#resumed === undefined ? this.#current() : this.#threads.find(this.#resumed);
    if (signal === undefined || (addressText && address === undefined)) return E_INVALID;
    if (thread === undefined) return E_NO_THREAD;
    if (address !== undefined) thread.write(registerNumber("rip"), littleEndian(address));
    const own: Resumption = { action: { kind: step ? "step" : "continue", signal }, threads: thread.id };
    const others: Resumption[] = this.#resumed === undefined ? [{ action: { kind: "continue" }, threads: "all" }] : [];
    return this.#resume([own, ...others]);
  }

  #stopped(event: StopEvent): void {
    const reply = this.#stopReply(event);
    this.#lastStop = reply;
    if (!this.#stopAwaited) return;
    this.#stopAwaited = false;
    this.#send(reply);
    if (event.kind === "exited") this.#options.connection.close();
  }

  #whyStopped(): string {
    if (this.#lastStop !== undefined) return this.#lastStop;
    const thread = this.#current();
    return thread === undefined ? "W00" : this.#trap(GDB_SIGTRAP, "", thread);
  }

  #stopReply(event: StopEvent): string {
    const process = this.#multiprocess ? `;process:${hex(this.#debug.process.pid)}` : "";
    if (event.kind === "exited") {
      const { status } = event;
      if (status.kind === "exited") return `W${byteHex(status.status)}${process}`;
      return `X${byteHex(this.#signalTo(status.signal))}${process}`;
    }
    if (event.kind === "noResumed") {
      if (this.#noResumed) return "N";
      const [first] = this.#threads.list();
      return first === undefined ? "W00" : this.#trap(0, "", first);
    }
    const thread = this.#threads.of(event.thread);
    switch (event.kind) {
      case "interrupt":
        return this.#trap(GDB_SIGINT, "", thread);
      case "signal":
        return this.#trap(this.#signalTo(event.info.signal), "", thread);
      case "breakpoint":
        return this.#trap(GDB_SIGTRAP, this.#breakReason(event.address), thread);
      case "watchpoint":
        return this.#trap(GDB_SIGTRAP, `${WATCH_REPLY[event.watch]}:${hex(event.address)};`, thread);
      case "syscallEntry":
        return this.#trap(GDB_SIGTRAP, `syscall_entry:${hex(event.number)};`, thread);
      case "syscallReturn":
        return this.#trap(GDB_SIGTRAP, `syscall_return:${hex(event.number)};`, thread);
      case "step":
        return this.#trap(GDB_SIGTRAP, "", thread);
    }
  }

  /** The client's number for a Linux signal, and back. */
  #signalTo(signal: number): number {
    return this.#lldb ? signal : gdbSignal(signal);
  }

  readonly #signalFrom = (number: number): number | undefined => {
    if (!this.#lldb) return linuxSignal(number);
    return number >= 1 && number <= SIGRTMAX ? number : undefined;
  };

  #breakReason(address: number): string {
    if (this.#lldb) return "reason:breakpoint;";
    if (!this.#swbreak) return "";
    return (this.#hardware.get(address) ?? 0) > 0 ? "hwbreak:;" : "swbreak:;";
  }

  #trap(signal: number, reason: string, thread: DebugThread): string {
    const registers = EXPEDITED.map((number) => `${byteHex(number)}:${this.#registerHex(thread, number)};`).join("");
    const threads = this.#listThreads ? `threads:${this.#threadIds()};` : "";
    return `T${byteHex(signal)}${reason}thread:${this.#id(thread.id)};${threads}${registers}`;
  }

  #detach(): undefined {
    this.detached = true;
    this.#debug.detach();
    this.#send(OK);
    this.end();
    this.#options.connection.close();
    return undefined;
  }

  #kill(): void {
    this.end();
    this.#debug.detach();
    this.#debug.process.die(SIGNAL.SIGKILL);
  }

  // v packets.

  #verbose(text: string): string | Uint8Array | undefined {
    if (text === "Cont?") return "vCont;c;C;s;S;t;r";
    if (text.startsWith("Cont;")) {
      const resumptions = parseVCont(text.slice(5), this.#signalFrom);
      if (resumptions === undefined) return E_INVALID;
      return this.#resume(resumptions);
    }
    if (text.startsWith("File:")) return this.#files.handle(text.slice(5));
    if (text === "Kill" || text.startsWith("Kill;")) {
      this.#send(OK);
      this.#kill();
      return undefined;
    }
    if (text === "CtrlC") {
      this.#debug.interrupt();
      return OK;
    }
    return UNSUPPORTED;
  }

  // q packets.

  #query(text: string): string | Uint8Array | undefined {
    const [, name, rest] = QUERY.exec(text) ?? ["", "", ""];
    const { process } = this.#debug;
    switch (name) {
      case "Supported":
        return this.#supported(rest);
      case "C": {
        const thread = this.#current();
        return thread === undefined ? E_NO_THREAD : `QC${this.#id(thread.id)}`;
      }
      case "Attached":
        return this.#options.attached ? "1" : "0";
      case "fThreadInfo":
        return `m${this.#threadIds()}`;
      case "sThreadInfo":
        return "l";
      case "ThreadStopInfo":
        return this.#threadStopInfo(rest);
      case "RegisterInfo":
        return registerInfo(parseHex(rest)) ?? E_INVALID;
      case "ProcessInfo":
        return processInfo(process);
      case "ThreadExtraInfo": {
        const thread = this.#find(rest);
        return thread === undefined ? E_NO_THREAD : toHex(utf8.encode(thread.description || thread.name));
      }
      case "Offsets": {
        const bias = hex(this.#options.bias);
        return `Text=${bias};Data=${bias};Bss=${bias}`;
      }
      case "Symbol":
        return OK;
      case "Xfer":
        return transfer(rest, this.#view());
      case "Rcmd":
        return this.#monitor(rest);
      case "Pid":
        return hex(process.pid);
      default:
        return UNSUPPORTED;
    }
  }

  /** Why one thread stands still (lldb, "qThreadStopInfo"). */
  #threadStopInfo(id: string): string {
    const thread = this.#find(id);
    if (thread === undefined) return E_NO_THREAD;
    const event = this.#debug.lastEvent;
    const stopped = event !== undefined && "thread" in event && this.#threads.of(event.thread).id === thread.id;
    return stopped && this.#lastStop !== undefined ? this.#lastStop : this.#trap(0, "", thread);
  }

  /** Passes on what the guest prints (O), while the client waits for it to stop. */
  print(bytes: Uint8Array): void {
    if (this.#stopAwaited && bytes.length > 0) this.#send(`O${toHex(bytes)}`);
  }

  #supported(text: string): string {
    const client = new Set(text.split(";"));
    this.#multiprocess = client.has("multiprocess+");
    this.#noResumed = client.has("no-resumed+");
    this.#swbreak = client.has("swbreak+") && client.has("hwbreak+");
    this.#lastStop = undefined;
    return FEATURES;
  }

  #view(): TransferView {
    const { debug, threads } = this.#options;
    return { debug, threads, current: this.#current(), id: (id) => this.#id(id) };
  }

  #monitor(text: string): string {
    const command = fromHex(text);
    if (command === undefined) return E_INVALID;
    const answer = this.#options.monitor?.(new TextDecoder().decode(command));
    if (answer === undefined) return UNSUPPORTED;
    return answer === "" ? OK : toHex(utf8.encode(answer)).slice(0, PACKET_SIZE - 16);
  }

  // Q packets.

  #set(text: string): string {
    const [, name, rest] = /^([A-Za-z]+)[:;]?(.*)$/s.exec(text) ?? ["", "", ""];
    switch (name) {
      case "StartNoAckMode":
        // The reply is still acknowledged; nothing after it is.
        this.#acknowledge = false;
        return OK;
      case "ThreadSuffixSupported":
        this.#lldb = true;
        // lldb's clients have no QPassSignals: what they would only pass on is not shown to them.
        this.#debug.passSignals = QUIET_SIGNALS;
        return OK;
      case "ListThreadsInStopReply":
        this.#listThreads = true;
        return OK;
      case "PassSignals":
        this.#debug.passSignals = new Set(parseList(rest).flatMap((gdb) => linuxSignal(gdb) ?? []));
        return OK;
      case "ProgramSignals":
        return OK;
      case "CatchSyscalls":
        return this.#catch(rest);
      default:
        return UNSUPPORTED;
    }
  }

  #catch(text: string): string {
    const [on, ...numbers] = text.split(";");
    if (on !== "0" && on !== "1") return E_INVALID;
    if (on === "0") this.#debug.catchSyscalls = new Set();
    else this.#debug.catchSyscalls = numbers.length === 0 ? "all" : new Set(parseList(numbers.join(";")));
    return OK;
  }
}

const utf8 = new TextEncoder();
