// What is measured of servers: the same net/http server under load, natively, under qemu-x86_64 and under goemu.
import type { Runner } from "../jobs.ts";
import { geometricMean, median } from "../report.ts";

/** One kind of request, and how many clients make it at a time. */
export interface ServerJob {
  readonly name: string;
  /** What is asked for (src/server/main.go). */
  readonly path: string;
  /** Over TLS; HTTP/2 always is. */
  readonly tls?: boolean;
  /** Options of src/load/main.go. */
  readonly options: readonly string[];
  readonly clients: number;
}

const KINDS: readonly Omit<ServerJob, "clients">[] = [
  { name: "2 KiB", path: "/2k", options: [] },
  { name: "JSON", path: "/json", options: ["-json"] },
  { name: "100 KiB", path: "/100k", options: [] },
  { name: "100 KiB file", path: "/file", options: [] },
  { name: "2 KiB, TLS", path: "/2k", tls: true, options: [] },
  { name: "2 KiB, HTTP/2", path: "/2k", tls: true, options: ["-h2"] },
];

export const SERVER_JOBS: readonly ServerJob[] = [32, 500].flatMap((clients) =>
  KINDS.map((kind) => ({ ...kind, name: `server, ${kind.name}, ${clients} clients`, clients })),
);

/** What one run gave. */
export interface ServerSample {
  /** Requests answered a second. */
  readonly rate: number;
  /** Latencies in ms: of half of the requests at most this, of 99 in a hundred. */
  readonly p50: number;
  readonly p99: number;
  /** The server's time on processors in µs for each request; null where nothing measures it. */
  readonly cpu: number | null;
}

type Name = Runner["name"];

/** Medians of a job, by runner; goemu's first run, which finds no translation cache, stands by itself. */
export interface ServerRow {
  readonly job: string;
  readonly median: Readonly<Partial<Record<Name, ServerSample>>>;
  readonly first: ServerSample | null;
  /** goemu's requests a second divided by qemu's: above 1 it is faster. */
  readonly toQemu: number | null;
  readonly firstToQemu: number | null;
  readonly samples: Readonly<Partial<Record<Name, readonly ServerSample[]>>>;
}

function medianOf(samples: readonly ServerSample[]): ServerSample {
  const of = (quantity: "rate" | "p50" | "p99"): number => median(samples.map((sample) => sample[quantity]));
  const cpu = samples.map((sample) => sample.cpu).filter((value) => value !== null);
  return { rate: of("rate"), p50: of("p50"), p99: of("p99"), cpu: cpu.length === 0 ? null : median(cpu) };
}

/** Medians and ratios of a job's measurements, which are in the order of the rounds. */
export function serverRowOf(job: string, samples: ServerRow["samples"]): ServerRow {
  const { goemu = [], ...others } = samples;
  const [first, ...later] = goemu;
  const medians: Partial<Record<Name, ServerSample>> = {};
  for (const [name, list] of Object.entries({ ...others, goemu: later }) as [Name, readonly ServerSample[]][]) {
    if (list.length > 0) medians[name] = medianOf(list);
  }
  const divide = (a?: ServerSample, b?: ServerSample): number | null => (a && b ? a.rate / b.rate : null);
  return {
    job,
    median: medians,
    first: first ?? null,
    toQemu: divide(medians.goemu, medians.qemu),
    firstToQemu: divide(first, medians.qemu),
    samples,
  };
}

/** The geometric means of the ratios to qemu's rate; null without any. */
export function serverMeans(rows: readonly ServerRow[]): { toQemu: number | null; firstToQemu: number | null } {
  const mean = (values: readonly (number | null)[]): number | null => {
    const numbers = values.filter((value) => value !== null);
    return numbers.length === 0 ? null : geometricMean(numbers);
  };
  return { toQemu: mean(rows.map((row) => row.toQemu)), firstToQemu: mean(rows.map((row) => row.firstToQemu)) };
}

const MISSING = "–";

/** Requests a second with latencies, a line for each job, in Markdown. */
export function formatServers(rows: readonly ServerRow[]): string {
  const cell = (sample: ServerSample | null | undefined): string => {
    if (!sample) return MISSING;
    const ms = (value: number): string => (value >= 10 ? value.toFixed(0) : value.toFixed(1));
    return `${sample.rate.toFixed(0)} (${ms(sample.p50)}, ${ms(sample.p99)})`;
  };
  const times = (value: number | null): string => (value === null ? MISSING : `${value.toFixed(2)}×`);
  const means = serverMeans(rows);
  const lines = [
    ["requests/s (p50, p99 in ms)", "native", "qemu-x86_64", "goemu", "goemu / qemu", "first run", "first / qemu"],
    ["---", "---:", "---:", "---:", "---:", "---:", "---:"],
    ...rows.map((row) => [
      row.job,
      cell(row.median.native),
      cell(row.median.qemu),
      cell(row.median.goemu),
      times(row.toQemu),
      cell(row.first),
      times(row.firstToQemu),
    ]),
    ["**geometric mean**", "", "", "", `**${times(means.toQemu)}**`, "", `**${times(means.firstToQemu)}**`],
  ];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
