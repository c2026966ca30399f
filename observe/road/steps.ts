import { GuestFault } from "../../emu/memory/guest-memory.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { GoRuntime } from "../go/runtime.ts";
import type { GoroutineRecord, Place, QueuePlace, SchedulerEvent, SchedulerEvents } from "../go/scheduler-events.ts";

/** A function whose entry is a line of the road. Those that a release does not have, or has inlined, are left out. */
export interface Step {
  readonly name: string;
  readonly kind?: string;
  /** What the line says beside the name. */
  readonly detail?: (call: { scheduler: SchedulerEvents; thread: LinuxThread }) => string;
  /** It ends by a jump to the next step. */
  readonly jumps?: boolean;
  /** Nothing of interest is called from it. */
  readonly isLeaf?: boolean;
  /** It has a wrapper of the same name for assembly's calling convention, or calls itself. */
  readonly isWrapped?: boolean;
}

/** A func value's function: a pointer to a pointer to the code. */
function functionOf({ scheduler, thread }: { scheduler: SchedulerEvents; thread: LinuxThread }, index: number): string {
  const value = scheduler.argument(thread, index);
  if (value === 0) return "";
  try {
    return scheduler.machine.symbols.lookup(scheduler.machine.memory.readPointer(value))?.name ?? "";
  } catch (error) {
    if (error instanceof GuestFault) return "";
    throw error;
  }
}

function processorOf(
  { scheduler, thread }: { scheduler: SchedulerEvents; thread: LinuxThread },
  index: number,
): string {
  const p = scheduler.argument(thread, index);
  try {
    return p === 0 ? "" : `P${scheduler.go.pid(p)}`;
  } catch (error) {
    if (error instanceof GuestFault) return "";
    throw error;
  }
}

const leaf = (name: string, detail: string): Step => ({ name: `runtime.${name}`, detail: () => detail, isLeaf: true });
const call = (name: string, detail = ""): Step => ({ name: `runtime.${name}`, detail: () => detail, isWrapped: true });

/** Where a program that is linked with a C library begins; `main` there is Go's (Go runtime/rt0_linux_amd64.s). */
export const C_START = "_start";

/** What C's start calls in the C library, which is not mapped before. */
export const C_LIBRARY_START: Step = {
  name: "__libc_start_main",
  detail: () => "C's library sets itself up, runs constructors, calls main",
};

/** The interpreter (ld.so), which a dynamically linked program begins in. */
export const interpreterStep = (path: string): Step => ({
  name: path,
  detail: () => "the kernel starts the dynamic linker, which maps and relocates the libraries",
  jumps: true,
});

/** The runtime's functions on the road (Go runtime/asm_amd64.s, proc.go), and those of C before them in a cgo program. */
export const STEPS: readonly Step[] = [
  { name: C_START, detail: () => "C's start of the program" },
  { name: "main", detail: () => "what C takes for the program's main is the runtime's start", jumps: true },
  {
    name: "_rt0_amd64_lib",
    detail: () => "Go as a library: a constructor that starts the runtime on a thread of its own",
  },
  { name: "_rt0_amd64_linux", detail: () => "the kernel starts the program here", jumps: true },
  { name: "_rt0_amd64", detail: () => "argc and argv from the stack", jumps: true },
  { name: "runtime.rt0_go", detail: () => "g0's stack, CPU features, thread-local storage", jumps: true },
  { ...leaf("check", "sizes, atomics and floating point are as the compiler thought"), isWrapped: true },
  { ...leaf("args", "arguments and the auxiliary vector"), isWrapped: true },
  { ...leaf("osinit", "number of CPUs, size of huge pages"), isWrapped: true },
  call("schedinit", "the scheduler sets itself up"),
  leaf("moduledataverify", "function table"),
  leaf("stackinit", "pools of stacks"),
  leaf("randinit", "random seed from the auxiliary vector"),
  leaf("mallocinit", "address space of the heap"),
  leaf("cpuinit", "CPU features"),
  leaf("alginit", "hash functions"),
  leaf("modulesinit", ""),
  leaf("typelinksinit", ""),
  leaf("itabsinit", "tables of interface methods"),
  leaf("goargs", "os.Args"),
  leaf("parsedebugvars", "GODEBUG"),
  leaf("gcinit", "garbage collector"),
  { name: "runtime.procresize", detail: (at) => `makes ${at.scheduler.argument(at.thread, 0) | 0} Ps`, isLeaf: true },
  { name: "runtime.newproc", kind: "go", isWrapped: true },
  call("mstart", "the thread becomes a worker of the scheduler"),
  { name: "runtime.mstart1", detail: () => "" },
  { name: "runtime.schedule", detail: () => "looks for a goroutine to run" },
  {
    name: "runtime.newm",
    detail: (at) => {
      const started = functionOf(at, 0);
      const processor = processorOf(at, 1);
      return [started === "" ? "" : `to run ${started}`, processor === "" ? "" : `for ${processor}`]
        .filter(Boolean)
        .join(" ");
    },
  },
  { name: "runtime.startTemplateThread" },
  { name: "runtime.main", detail: () => "the first goroutine" },
  {
    name: "runtime.sysmon",
    detail: () => "watches without a P: preempts, retakes Ps from system calls, polls the network",
  },
  { name: "runtime.gcenable", detail: () => "starts the sweeper and the scavenger and waits for them" },
  { name: "main.main", detail: () => "the program's own" },
  { name: "runtime.stopm", detail: () => "nothing to run: the thread gives its P back and sleeps", isLeaf: true },
  { name: "runtime.startm", detail: (at) => `a thread for ${processorOf(at, 0) || "an idle P"}` },
  { name: "runtime.wakep", detail: () => "is there an idle P for the new work?" },
];

/** Initialisation of packages: their variables and their init functions, in the order in which they run. */
export function initFunctions(names: Iterable<string>): Step[] {
  const steps: Step[] = [];
  for (const name of names) {
    if (/^[^()]+\.init(\.\d+)?$/.test(name) && !/^(type:|go:)/.test(name)) steps.push({ name, kind: "init" });
  }
  return steps;
}

export function describePlace({ kind, p }: QueuePlace): string {
  if (kind === "global") return "global queue";
  return kind === "runnext" ? `runnext of P${p}` : `run queue of P${p}`;
}

export function duration(ns: number): string {
  if (ns < 1000) return `${Math.round(ns)} ns`;
  if (ns < 1e6) return `${(ns / 1e3).toFixed(ns < 1e4 ? 1 : 0)} µs`;
  return ns < 1e9 ? `${(ns / 1e6).toFixed(ns < 1e7 ? 2 : 1)} ms` : `${(ns / 1e9).toFixed(2)} s`;
}

/** Short form of a source file: its last two parts. */
export const shortFile = (file: string): string => file.split("/").slice(-1)[0];

const named = ({ id, startFunction }: GoroutineRecord): string => `goroutine ${id} (${startFunction})`;

/** A package of the runtime or of what hides the place where a program waits. */
const LIBRARY = /^(runtime|sync|internal\/|time|syscall|os|net|io|bufio|fmt)[./]/;

/** What waiting itself is made of: the place that waits is the caller. */
const WAITING = new RegExp(
  `^runtime\\.(${[
    ...["gopark", "goparkunlock", "mcall", "systemstack_switch", "gosched\\w*", "Gosched", "chan(recv|send)\\d?"],
    ...["selectgo", "block", "semacquire\\d?", "notetsleepg", "netpollblock", "asyncPreempt2?", "newstack"],
    "morestack\\w*",
  ].join("|")})$`,
);

/** Where in the program's own code a goroutine stands, if it is in there at all. */
function userPlace(go: GoRuntime, record: GoroutineRecord): string {
  const frames = go.stack(record.address, 40).filter(({ name }) => name !== undefined);
  const own = frames.findIndex(({ name }) => !LIBRARY.test(name ?? ""));
  const at = own >= 0 ? own : frames.findIndex(({ name }) => !WAITING.test(name ?? ""));
  if (at < 0) return "";
  const { name, file, line } = frames[at];
  const place = file === undefined ? "" : ` at ${shortFile(file)}:${line}`;
  // What of the library the program called.
  const called = own > 0 && !WAITING.test(frames[own - 1].name ?? "") ? `${frames[own - 1].name}, called by ` : "";
  return `in ${called}${name}${place}`;
}

/** The line of an event; an empty label for one that has none of its own. */
export function describeEvent(event: SchedulerEvent, place: Place, go: GoRuntime): { label: string; detail: string } {
  switch (event.kind) {
    case "create": {
      const { created, id, startFunction, queue } = event.created;
      const where =
        created === undefined || created.file === "<autogenerated>"
          ? ""
          : `${shortFile(created.file)}:${created.line} `;
      const queued = queue === undefined ? "" : ` → runqput: ${describePlace(queue)}`;
      return { label: `go ${startFunction}`, detail: `${where}→ newproc → newproc1: goroutine ${id}${queued}` };
    }
    case "ready": {
      const by = event.by === "runtime" ? "network poller or timer" : "";
      return {
        label: `ready ${named(event.woken)}`,
        detail: [by, `waited for ${event.woken.waitReason ?? "?"}`].filter(Boolean).join("; "),
      };
    }
    case "queue":
      return { label: `runqput ${named(event.queued)}`, detail: describePlace(event.place) };
    case "run": {
      const { run, from } = event;
      const stolen = from?.p !== undefined && from.p !== place.p ? ", stolen" : "";
      const origin = from === undefined ? "" : ` from ${describePlace(from)}${stolen}`;
      const first = run.spells === 1 ? "for the first time" : "again";
      return { label: `execute → gogo ${named(run)}`, detail: `runs ${first} on M${place.m} P${place.p}${origin}` };
    }
    case "park":
      return {
        label: `gopark ${named(event.parked)}`,
        detail: `${event.reason}, ${userPlace(go, event.parked)} → mcall(park_m)`,
      };
    case "yield": {
      const { yielded, cause } = event;
      const ran = duration(place.time - yielded.runTime);
      const request = yielded.preemptRequest;
      const asked = request === undefined ? "" : `, ${request.by} asked ${duration(place.time - request.time)} before`;
      const how =
        cause === "Gosched"
          ? "gives way"
          : cause === "preempted"
            ? `preempted after ${ran}${asked}`
            : `${cause} after ${ran}`;
      return { label: `${cause} ${named(yielded)}`, detail: `${how}, ${userPlace(go, yielded)}` };
    }
    case "exit": {
      const { exited } = event;
      const spells = exited.spells === 1 ? "one spell" : `${exited.spells} spells`;
      return {
        label: `goexit ${named(exited)}`,
        detail: `returned: goexit → goexit1 → mcall(goexit0); it ran in ${spells}`,
      };
    }
    case "preempt-request": {
      const { target, by } = event;
      return {
        label: `preemptone ${named(target)}`,
        detail: `${by}: it has run for ${duration(place.time - target.runTime)}`,
      };
    }
    case "handoff":
      return {
        label: `handoffp P${event.processor}`,
        detail: "its thread is in a system call or blocks: the P goes to another",
      };
    case "syscall-no-p":
      return {
        label: `exitsyscall ${named(event.returned)}`,
        detail: "the system call is over and there is no P: global queue",
      };
    case "thread-start":
      return {
        label: `clone → thread ${place.thread.tid}`,
        detail: event.number === undefined ? "" : `M${event.number}`,
      };
    case "thread-exit":
      return { label: "exit", detail: "the thread ends" };
    case "stop-the-world":
      return { label: "stopTheWorld", detail: "every P is asked to stop" };
    case "start-the-world":
      return { label: "startTheWorld", detail: "" };
    case "gc":
      return { label: `GC: ${event.phase}`, detail: "" };
  }
}
