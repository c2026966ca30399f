import type { Job, Runner } from "./jobs.ts";

/** All measurements of one job, by runner, in the order of the rounds. */
export interface Series {
  readonly job: Pick<Job, "name" | "measures">;
  readonly samples: Readonly<Partial<Record<Runner["name"], readonly number[]>>>;
}

export interface Row {
  readonly job: string;
  readonly unit: "ms" | "MiB";
  /** Medians. */
  readonly native: number | null;
  readonly qemu: number | null;
  readonly goemu: number | null;
  /** goemu's median divided by the other's. */
  readonly toNative: number | null;
  readonly toQemu: number | null;
  readonly samples: Series["samples"];
}

/** The middle value; of an even number the mean of the two. @throws RangeError for none */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("no values");
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

export function rowOf({ job, samples }: Series): Row {
  const of = (name: Runner["name"]): number | null => (samples[name] === undefined ? null : median(samples[name]));
  const ratio = (a: number | null, b: number | null): number | null =>
    a === null || b === null || b === 0 ? null : a / b;
  const [native, qemu, goemu] = [of("native"), of("qemu"), of("goemu")];
  const unit = job.measures === "time" ? "ms" : "MiB";
  return {
    job: job.name,
    unit,
    native,
    qemu,
    goemu,
    toNative: ratio(goemu, native),
    toQemu: ratio(goemu, qemu),
    samples,
  };
}

const number = (value: number | null, unit: string): string =>
  value === null ? "–" : `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${unit}`;
const times = (value: number | null): string => (value === null ? "–" : `${value.toFixed(2)}×`);

/** A table in Markdown. */
export function formatTable(rows: readonly Row[]): string {
  const head = ["", "native", "qemu-x86_64", "goemu", "goemu / native", "goemu / qemu"];
  const cells = rows.map(({ job, unit, native, qemu, goemu, toNative, toQemu }) => [
    job,
    ...[native, qemu, goemu].map((value) => number(value, unit)),
    times(toNative),
    times(toQemu),
  ]);
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i].length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(" | ")} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  return [line(head), rule, ...cells.map(line)].join("\n");
}
