import type { Lane, SliceKind, TimelineSink } from "./timeline.ts";

/** Processes of the trace, in whose place the groups of lanes stand. */
const GROUPS: Readonly<Record<Lane["group"], { pid: number; name: string }>> = {
  thread: { pid: 1, name: "Threads (M)" },
  processor: { pid: 2, name: "Processors (P)" },
  goroutine: { pid: 3, name: "Goroutines (G)" },
  gc: { pid: 4, name: "Garbage collector" },
};

/** Colours by names that the viewers know (Catapult, tracing/base/color_scheme.html). */
const COLOURS: Readonly<Record<SliceKind, string>> = {
  running: "thread_state_running",
  runnable: "thread_state_runnable",
  waiting: "thread_state_sleeping",
  syscall: "thread_state_iowait",
  gc: "cq_build_running",
  stopped: "terrible",
};

/** Names that are kept in JSON's form. */
const NAMES = 10_000;

/**
 * Writes a timeline as Chrome trace events, which Perfetto and chrome://tracing open (Trace Event Format: phases X, i,
 * s, f and M; times in µs). Everything is written as it comes.
 */
export class ChromeTrace implements TimelineSink {
  readonly #write: (text: string) => void;
  #separator = "";
  #flows = 0;
  readonly #names = new Map<string, string>();
  /** Events written. */
  count = 0;

  /** @param write takes pieces of the file in order */
  constructor(write: (text: string) => void) {
    this.#write = write;
    write('{"displayTimeUnit":"ns","traceEvents":[\n');
    for (const { pid, name } of Object.values(GROUPS)) {
      this.#event({ ph: "M", pid, tid: 0, name: "process_name", args: { name } });
      this.#event({ ph: "M", pid, tid: 0, name: "process_sort_index", args: { sort_index: pid } });
    }
  }

  /** Writes the end of the file. */
  close(): void {
    this.#write("\n]}\n");
  }

  #event(event: Record<string, unknown>): void {
    this.#write(this.#separator + JSON.stringify(event));
    this.#separator = ",\n";
    this.count++;
  }

  lane(lane: Lane, name: string): void {
    const { pid } = GROUPS[lane.group];
    this.#event({ ph: "M", pid, tid: lane.id, name: "thread_name", args: { name } });
    this.#event({ ph: "M", pid, tid: lane.id, name: "thread_sort_index", args: { sort_index: lane.id } });
  }

  slice(lane: Lane, kind: SliceKind, start: number, end: number, name: string, detail: Record<string, unknown>): void {
    // Most events are slices; text put together is faster than JSON made of an object.
    let quoted = this.#names.get(name);
    if (quoted === undefined) {
      quoted = JSON.stringify(name);
      if (this.#names.size < NAMES) this.#names.set(name, quoted);
    }
    const { pid } = GROUPS[lane.group];
    const times = `"ts":${micros(start)},"dur":${micros(end - start)}`;
    const place = `{"ph":"X","pid":${pid},"tid":${lane.id},${times},"cat":"${kind}"`;
    this.#write(
      `${this.#separator}${place},"name":${quoted},"cname":"${COLOURS[kind]}","args":${JSON.stringify(detail)}}`,
    );
    this.#separator = ",\n";
    this.count++;
  }

  flow(kind: "go" | "wake", from: Lane, start: number, to: Lane, end: number): void {
    const id = ++this.#flows;
    const common = { cat: "flow", name: kind, id };
    this.#event({ ph: "s", pid: GROUPS[from.group].pid, tid: from.id, ts: micros(start), ...common });
    this.#event({ ph: "f", bp: "e", pid: GROUPS[to.group].pid, tid: to.id, ts: micros(end), ...common });
  }

  instant(lane: Lane, time: number, name: string, detail: Record<string, unknown>): void {
    this.#event({ ph: "i", s: "t", pid: GROUPS[lane.group].pid, tid: lane.id, ts: micros(time), name, args: detail });
  }
}

const micros = (ns: number): number => Math.round(ns) / 1000;
