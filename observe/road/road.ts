import { REG } from "../../emu/cpu/state.ts";
import { GuestFault } from "../../emu/memory/guest-memory.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { Machine } from "../../syscalls/machine.ts";
import type { GoroutineRecord, Place, SchedulerEvent, SchedulerEvents } from "../go/scheduler-events.ts";
import type { SyscallEntry } from "../probes.ts";
import {
  C_LIBRARY_START,
  C_START,
  describeEvent,
  describePlace,
  initFunctions,
  interpreterStep,
  STEPS,
  type Step,
} from "./steps.ts";

/** One line of the road. */
export interface RoadNode {
  readonly id: number;
  readonly parent: RoadNode | undefined;
  /** "call": a function is entered; "syscall"; "thread": a thread starts; else the scheduler's event. */
  readonly kind: string;
  label: string;
  detail: string;
  /** ns since start, and instructions that the process had run. */
  readonly time: number;
  readonly instructions: number;
  readonly tid: number;
  readonly m: number | undefined;
  readonly p: number | undefined;
  /** Number of the goroutine for which the thread ran. */
  readonly g: number | undefined;
  /** The goroutine that the line is about, and its first function. */
  subject: { readonly id: number; readonly name: string } | undefined;
  readonly children: RoadNode[];
}

/** A function that has been entered and, as far as the stack tells, not been left. */
interface LiveCall {
  readonly node: RoadNode;
  /** Address of the g whose stack it is on; 0 before there is one. */
  readonly stack: number;
  /** Where its return address lies, and the address. */
  readonly sp: number;
  readonly returnAddress: number;
  /** The function goes on by a jump: what it jumps to has the same stack pointer. */
  readonly jumps: boolean;
  /** A goroutine's spell on the thread: lives until the scheduler says that it is over. */
  readonly isSpell: boolean;
}

interface ThreadState {
  readonly node: RoadNode;
  calls: LiveCall[];
}

/** Lines that are kept; a program that schedules more is cut off there. */
const NODE_LIMIT = 400_000;

/** Records the road that a Go program takes: from its first instruction to every goroutine. */
export class Road {
  /** The lines of the first thread; those of other threads hang on the clone that made them. */
  readonly root: RoadNode;
  /** Lines in order of time. */
  readonly nodes: RoadNode[] = [];
  /** Every goroutine in order of creation. */
  readonly goroutines: GoroutineRecord[] = [];
  /** Lines that were not kept. */
  dropped = 0;
  /** ns since start at the end. */
  end = 0;
  readonly #scheduler: SchedulerEvents;
  readonly #machine: Machine;
  readonly #threads = new Map<LinuxThread, ThreadState>();

  constructor(scheduler: SchedulerEvents) {
    const { machine } = scheduler;
    this.#machine = machine;
    this.#scheduler = scheduler;
    scheduler.onEvent((event, place) => this.#event(event, place));
    const place = this.#scheduler.place(machine.mainThread);
    this.root = this.#newNode("thread", `thread ${machine.mainThread.tid}`, "", place, undefined);
    this.nodes.push(this.root);
    this.#threads.set(machine.mainThread, { node: this.root, calls: [] });
    const { interpreter, needsInterpreter } = machine.executable;
    if (needsInterpreter && interpreter !== undefined) this.#enter(machine.mainThread, interpreterStep(interpreter));
    for (const step of [...STEPS, ...initFunctions(this.#scheduler.functionNames)]) {
      this.#scheduler.onEntry(step.name, (thread) => this.#enter(thread, step));
    }
    this.#scheduler.onEntry(C_START, () => this.#watchLibrary());
    this.#scheduler.probes.onSyscall({ enter: (thread, call) => this.#syscall(thread, call) });
    this.#scheduler.probes.onExit(() => {
      this.end = this.#scheduler.now;
    });
  }

  /** The runtime, to be asked within a probe. */
  get go(): SchedulerEvents["go"] {
    return this.#scheduler.go;
  }

  #newNode(kind: string, label: string, detail: string, place: Place, parent: RoadNode | undefined): RoadNode {
    const { time, instructions, thread, m, p, g } = place;
    const id = this.nodes.length;
    return {
      ...{ id, parent, kind, label, detail, time, instructions, tid: thread.tid, m, p, g: g?.id },
      subject: undefined,
      children: [],
    };
  }

  #add(kind: string, label: string, detail: string, place: Place, parent: RoadNode): RoadNode {
    const node = this.#newNode(kind, label, detail, place, parent);
    if (this.nodes.length >= NODE_LIMIT) {
      this.dropped++;
      return node;
    }
    parent.children.push(node);
    this.nodes.push(node);
    return node;
  }

  #state(thread: LinuxThread): ThreadState {
    let state = this.#threads.get(thread);
    if (state === undefined) {
      state = { node: this.root, calls: [] };
      this.#threads.set(thread, state);
    }
    return state;
  }

  #top(state: ThreadState): RoadNode {
    return state.calls.at(-1)?.node ?? state.node;
  }

  /** Forgets calls that are over: the stack has gone up past them, or their return address is there no more. */
  #settle(state: ThreadState, stack: number, sp: number): void {
    const { memory } = this.#machine;
    let keep = state.calls.length;
    for (let i = state.calls.length - 1; i >= 0; i--) {
      const call = state.calls[i];
      if (call.isSpell) break;
      if (call.stack === stack) {
        if (call.sp < sp || (call.sp === sp && !call.jumps)) keep = i;
        else if (readWord(memory, call.sp) !== call.returnAddress) keep = i;
      } else if (this.#isSystemStack(call.stack)) keep = i;
    }
    state.calls.length = keep;
  }

  /** Is it a g0's stack? What was called there from a goroutine is over when the goroutine runs on. */
  #isSystemStack(g: number): boolean {
    try {
      return g !== 0 && this.go.isSystemG(g);
    } catch (error) {
      if (error instanceof GuestFault) return true;
      throw error;
    }
  }

  #enter(thread: LinuxThread, step: Step): void {
    const place = this.#scheduler.place(thread);
    const state = this.#state(thread);
    const stack = this.go.currentG(thread);
    const sp = Number(thread.cpu.gpr[REG.RSP]);
    this.#settle(state, stack, sp);
    // Wrappers of two calling conventions, and recursion, are one call.
    const top = state.calls.at(-1);
    if (top?.node.label === step.name && top.stack === stack && step.isWrapped) return;
    const detail = step.detail?.({ scheduler: this.#scheduler, thread }) ?? "";
    const node = this.#add(step.kind ?? "call", step.name, detail, place, this.#top(state));
    if (step.isLeaf) return;
    const returnAddress = readWord(this.#machine.memory, sp);
    state.calls.push({ node, stack, sp, returnAddress, jumps: step.jumps ?? false, isSpell: false });
  }

  /** The C library has been mapped. */
  #watchLibrary(): void {
    const start = this.#machine.symbols.byName(C_LIBRARY_START.name);
    if (start === undefined) return;
    this.#scheduler.probes.onAddress(start.address, (thread) => this.#enter(thread, C_LIBRARY_START));
  }

  #syscall(thread: LinuxThread, { name, args }: SyscallEntry): void {
    if (name === undefined || (name !== "exit_group" && name !== "write")) return;
    const state = this.#state(thread);
    const place = this.#scheduler.place(thread);
    if (name === "write" && args.u32(0) !== 1 && args.u32(0) !== 2) return;
    const detail =
      name === "exit_group"
        ? `status ${args.i32(0)}: the process ends`
        : quoted(this.#machine, args.address(1), args.address(2));
    const label = name === "exit_group" ? `exit_group(${args.i32(0)})` : `write(${args.u32(0)})`;
    this.#settle(state, this.go.currentG(thread), Number(thread.cpu.gpr[REG.RSP]) - 8);
    this.#add("syscall", label, detail, place, this.#top(state));
  }

  #event(event: SchedulerEvent, place: Place): void {
    const { thread } = place;
    const state = this.#state(thread);
    if (event.kind !== "thread-start" && event.kind !== "thread-exit") {
      // Told at the entry of a function: what the stack has gone past is over.
      this.#settle(state, this.go.currentG(thread), Number(thread.cpu.gpr[REG.RSP]));
    }
    const description = describeEvent(event, place, this.go);
    const subject = subjectOf(event);
    switch (event.kind) {
      case "create": {
        if (this.goroutines.length < NODE_LIMIT) this.goroutines.push(event.created);
        const call = state.calls.findLast(({ node }) => node.kind === "go");
        if (call === undefined) break;
        // newproc has its line; now it is known whom it made.
        Object.assign(call.node, { ...description, subject });
        return;
      }
      case "queue": {
        const line = state.calls.at(-1)?.node.children.at(-1) ?? state.node.children.at(-1);
        if (line?.kind === "ready" && line.subject?.id === event.queued.id) {
          line.detail += `; runqput: ${describePlace(event.place)}`;
          return;
        }
        break;
      }
      case "thread-start": {
        const parent = event.parent === undefined ? this.root : this.#top(this.#state(event.parent));
        const from = event.parent === undefined ? place : this.#scheduler.place(event.parent);
        const node = this.#add("thread", description.label, description.detail, { ...from, thread }, parent);
        this.#threads.set(thread, { node, calls: [] });
        return;
      }
      case "run": {
        const node = this.#add(event.kind, description.label, description.detail, place, this.#top(state));
        node.subject = subject;
        const sp = Number.POSITIVE_INFINITY;
        state.calls.push({ node, stack: event.run.address, sp, returnAddress: 0, jumps: false, isSpell: true });
        return;
      }
      case "park":
      case "yield":
      case "exit":
      case "syscall-no-p": {
        const spell = state.calls.findLastIndex(({ isSpell }) => isSpell);
        const parent = spell < 0 ? this.#top(state) : state.calls[spell].node;
        this.#add(event.kind, description.label, description.detail, place, parent).subject = subject;
        if (spell >= 0) state.calls.length = spell;
        this.#unwindSystemStack(state, thread);
        return;
      }
      default:
    }
    if (description.label === "") return;
    this.#add(event.kind, description.label, description.detail, place, this.#top(state)).subject = subject;
  }

  /** mcall has set g0's stack back to where mstart left it: calls below are gone. */
  #unwindSystemStack(state: ThreadState, thread: LinuxThread): void {
    const g0 = this.go.currentG(thread);
    const top = this.go.goroutine(g0).sched.sp;
    const dead = state.calls.findIndex((call) => call.stack === g0 && call.sp < top);
    if (dead >= 0) state.calls.length = dead;
  }
}

function subjectOf(event: SchedulerEvent): RoadNode["subject"] {
  const record = Object.values(event).find(
    (value): value is GoroutineRecord => typeof value === "object" && "startFunction" in value,
  );
  return record === undefined ? undefined : { id: record.id, name: record.startFunction };
}

function readWord(memory: Machine["memory"], address: number): number {
  try {
    return memory.readPointer(address);
  } catch (error) {
    if (error instanceof GuestFault) return -1;
    throw error;
  }
}

/** The text that a write(2) writes, shortened. */
function quoted(machine: Machine, address: number, length: number): string {
  const SHOWN = 60;
  try {
    const text = new TextDecoder().decode(machine.memory.readBytes(address, Math.min(length, SHOWN)));
    return JSON.stringify(text) + (length > SHOWN ? "…" : "");
  } catch (error) {
    if (error instanceof GuestFault) return "";
    throw error;
  }
}
