import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { GoroutineRecord, Place, SchedulerEvent, SchedulerEvents } from "../go/scheduler-events.ts";
import type { Probe } from "../probes.ts";

/** One row of a timeline. `id` is a thread id, the number of a P or a goroutine; 0 for the garbage collector. */
export interface Lane {
  readonly group: "thread" | "processor" | "goroutine" | "gc";
  readonly id: number;
}

export type SliceKind = "running" | "runnable" | "waiting" | "syscall" | "gc" | "stopped";

/** Takes a timeline piece by piece; times are ns since start. Slices come when they end, so not in order of start. */
export interface TimelineSink {
  /** A lane comes up for the first time. */
  lane(lane: Lane, name: string): void;
  /** Nothing more comes on a lane, but for arrows from it. */
  laneEnd?(lane: Lane): void;
  slice(lane: Lane, kind: SliceKind, start: number, end: number, name: string, detail: Record<string, unknown>): void;
  /** An arrow from a `go` statement, or from a waker, to the goroutine's next run. */
  flow(kind: "go" | "wake", from: Lane, start: number, to: Lane, end: number): void;
  instant(lane: Lane, time: number, name: string, detail: Record<string, unknown>): void;
}

interface OpenSlice {
  readonly lane: Lane;
  readonly kind: SliceKind;
  readonly start: number;
  readonly name: string;
  readonly detail: Record<string, unknown>;
}

const GC_LANE: Lane = { group: "gc", id: 0 };
const keyOf = ({ group, id }: Lane): string => `${group}${id}`;
const nameOf = ({ id, startFunction }: GoroutineRecord): string => `G${id} ${startFunction}`;

/**
 * Makes slices, arrows and marks of a run: what every thread, every P and every goroutine did when. Holds what is open,
 * nothing that is over.
 */
export class Timeline {
  readonly scheduler: SchedulerEvents;
  readonly #sink: TimelineSink;
  readonly #open = new Map<string, OpenSlice>();
  readonly #calls = new Map<LinuxThread, OpenSlice>();
  readonly #lanes = new Set<string>();
  /** Where the arrow to a goroutine's next run comes from. */
  readonly #flows = new Map<number, { kind: "go" | "wake"; from: Lane; time: number }>();
  readonly #probes: Probe[];

  constructor(scheduler: SchedulerEvents, sink: TimelineSink) {
    this.#sink = sink;
    this.scheduler = scheduler;
    scheduler.onEvent((event, place) => this.#add(event, place));
    const { mainThread } = scheduler.machine;
    this.#lane(threadLane(mainThread), threadName(mainThread, 0));
    const { probes } = scheduler;
    this.#probes = [
      probes.onSyscall({
        enter: (thread, { name, number }) => {
          const start = this.scheduler.now;
          const slice: OpenSlice = {
            lane: threadLane(thread),
            kind: "syscall",
            start,
            name: name ?? `syscall ${number}`,
            detail: {},
          };
          this.#calls.set(thread, slice);
        },
        leave: (thread, result) => this.#endCall(thread, Number(result), this.scheduler.now),
      }),
      probes.onSignal((thread, info) => {
        this.#sink.instant(threadLane(thread), this.scheduler.now, `signal ${info.signal}`, { code: info.code });
      }),
      probes.onExit(() => this.close()),
    ];
  }

  /** Ends what is open. */
  close(): void {
    const { now } = this.scheduler;
    for (const thread of [...this.#calls.keys()]) this.#endCall(thread, undefined, now);
    for (const key of [...this.#open.keys()]) this.#end(key, now);
    for (const probe of this.#probes) probe.remove();
  }

  #endCall(thread: LinuxThread, result: number | undefined, time: number): void {
    const call = this.#calls.get(thread);
    if (call === undefined) return;
    this.#calls.delete(thread);
    const detail = result === undefined ? {} : { result };
    this.#sink.slice(call.lane, call.kind, call.start, time, call.name, detail);
  }

  #lane(lane: Lane, name: string): Lane {
    const key = keyOf(lane);
    if (!this.#lanes.has(key)) {
      this.#lanes.add(key);
      this.#sink.lane(lane, name);
    }
    return lane;
  }

  #begin(lane: Lane, kind: SliceKind, start: number, name: string, detail: Record<string, unknown> = {}): void {
    const key = keyOf(lane);
    this.#end(key, start);
    this.#open.set(key, { lane, kind, start, name, detail });
  }

  #end(key: string, time: number, detail?: Record<string, unknown>): void {
    const slice = this.#open.get(key);
    if (slice === undefined) return;
    this.#open.delete(key);
    this.#sink.slice(slice.lane, slice.kind, slice.start, time, slice.name, { ...slice.detail, ...detail });
  }

  #goroutineLane(record: GoroutineRecord): Lane {
    return this.#lane({ group: "goroutine", id: record.id }, nameOf(record));
  }

  /** A goroutine stops running on a thread and its P. */
  #endSpell(place: Place, record: GoroutineRecord, why: string): void {
    const detail = { end: why, instructions: place.instructions - record.runInstructions };
    this.#end(keyOf(threadLane(place.thread)), place.time);
    if (place.p !== undefined) this.#end(keyOf(processorLane(place.p)), place.time);
    this.#end(keyOf(this.#goroutineLane(record)), place.time, detail);
  }

  #add(event: SchedulerEvent, place: Place): void {
    const { time, thread } = place;
    /** The lane from which something is caused: the goroutine's, or the thread's where the runtime is by itself. */
    const cause = place.g === undefined ? threadLane(thread) : this.#goroutineLane(place.g);
    switch (event.kind) {
      case "create": {
        const { created } = event;
        const where = created.created === undefined ? undefined : `${created.created.file}:${created.created.line}`;
        this.#begin(this.#goroutineLane(created), "runnable", time, "runnable", { creator: created.creator, where });
        this.#flows.set(created.id, { kind: "go", from: cause, time });
        break;
      }
      case "ready":
        this.#begin(this.#goroutineLane(event.woken), "runnable", time, "runnable");
        this.#flows.set(event.woken.id, { kind: "wake", from: cause, time });
        break;
      case "run":
        this.#run(event.run, place);
        break;
      case "park":
        this.#endSpell(place, event.parked, event.reason);
        this.#begin(this.#goroutineLane(event.parked), "waiting", time, event.reason);
        break;
      case "yield": {
        const { yielded, cause: why } = event;
        const request = yielded.preemptRequest;
        const asked = request === undefined ? {} : { asked: request.by, waited: time - request.time };
        this.#endSpell(place, yielded, why);
        if (why !== "Gosched" && why !== "goyield") {
          this.#sink.instant(this.#goroutineLane(yielded), time, why, { ran: time - yielded.runTime, ...asked });
        }
        this.#begin(this.#goroutineLane(yielded), why === "stopped for preemption" ? "waiting" : "runnable", time, why);
        break;
      }
      case "exit":
        this.#endSpell(place, event.exited, "exit");
        this.#flows.delete(event.exited.id);
        this.#lanes.delete(keyOf({ group: "goroutine", id: event.exited.id }));
        this.#sink.laneEnd?.({ group: "goroutine", id: event.exited.id });
        break;
      case "syscall-no-p":
        this.#endSpell(place, event.returned, "no P after the system call");
        this.#begin(this.#goroutineLane(event.returned), "runnable", time, "runnable");
        break;
      case "handoff":
        this.#end(keyOf(processorLane(event.processor)), time, { end: "handoffp" });
        break;
      case "preempt-request":
        this.#sink.instant(threadLane(thread), time, `preempt ${nameOf(event.target)}`, { by: event.by });
        break;
      case "thread-start":
        this.#lane(threadLane(thread), threadName(thread, event.number));
        break;
      case "thread-exit":
        this.#end(keyOf(threadLane(thread)), time);
        this.#calls.delete(thread);
        break;
      case "stop-the-world":
        this.#begin(this.#lane({ group: "gc", id: 1 }, "world stopped"), "stopped", time, "stop the world");
        break;
      case "start-the-world":
        this.#end("gc1", time);
        break;
      case "gc":
        if (event.phase === "sweep") this.#end(keyOf(GC_LANE), time);
        else
          this.#begin(
            this.#lane(GC_LANE, "GC"),
            "gc",
            time,
            event.phase === "start" ? "GC: mark" : "GC: mark termination",
          );
        break;
      case "queue":
        break;
    }
  }

  #run(run: GoroutineRecord, place: Place): void {
    const { time, thread, m, p } = place;
    const name = nameOf(run);
    const detail = { m, p, tid: thread.tid, instruction: place.instructions };
    this.#begin(threadLane(thread), "running", time, name, { m, p });
    if (p !== undefined) this.#begin(this.#lane(processorLane(p), `P${p}`), "running", time, name, { m });
    const lane = this.#goroutineLane(run);
    this.#begin(lane, "running", time, `on M${m} P${p}`, detail);
    const flow = this.#flows.get(run.id);
    if (flow === undefined) return;
    this.#flows.delete(run.id);
    this.#sink.flow(flow.kind, flow.from, flow.time, lane, time);
  }
}

const threadName = ({ tid }: LinuxThread, m: number | undefined): string =>
  m === undefined ? `thread ${tid}` : `M${m} (thread ${tid})`;
const threadLane = (thread: LinuxThread): Lane => ({ group: "thread", id: thread.tid });
const processorLane = (p: number): Lane => ({ group: "processor", id: p });
