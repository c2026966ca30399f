// From measurements to medians, ratios and means, and to tables of them in Markdown.
import type { Job, Runner } from "./jobs.ts";
import type { Sample } from "./measure.ts";

type Name = Runner["name"];
type ByRunner<T> = Readonly<Partial<Record<Name, T>>>;

/** All measurements of one job, by runner, in the order of the rounds. */
export interface Series {
  readonly job: Pick<Job, "name" | "group" | "floatingPoint">;
  readonly samples: ByRunner<readonly Sample[]>;
}

/** One job's medians; what could not be measured is missing or null. */
export interface Row {
  readonly job: string;
  readonly group: Job["group"];
  readonly floatingPoint: boolean;
  /** Times from start to end in ms. */
  readonly time: ByRunner<number>;
  /** goemu's time divided by the other's. */
  readonly toNative: number | null;
  readonly toQemu: number | null;
  /** goemu's time in the first round, and that divided by the others' medians. */
  readonly first: number | null;
  readonly firstToNative: number | null;
  readonly firstToQemu: number | null;
  /** Times on processors in ms. */
  readonly cpu: ByRunner<number>;
  /** Largest resident sets in MiB. */
  readonly memory: ByRunner<number>;
  /** goemu's memory less that of the program itself, run natively, in MiB. */
  readonly memoryAbove: number | null;
  readonly samples: Series["samples"];
}

/** The largest of some values, and the job that it belongs to. */
export interface Worst {
  readonly job: string;
  readonly value: number;
}

/** What a ratio of times is over some jobs; null without any. */
export interface Means {
  readonly jobs: number;
  /** Geometric means. */
  readonly toNative: number | null;
  readonly toQemu: number | null;
}

/** The suite in a few numbers. */
export interface Summary {
  readonly all: Means;
  /** Of goemu's first rounds. */
  readonly first: Means;
  readonly floatingPoint: Means;
  readonly worstToNative: Worst | null;
  readonly worstToQemu: Worst | null;
  readonly mostMemoryAbove: Worst | null;
}

/** The middle value; of an even number the mean of the two. @throws RangeError for none */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("no values");
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** The n-th root of the product of n values, which are above 0. @throws RangeError for none */
export function geometricMean(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("no values");
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

const isNumber = (value: number | null): value is number => value !== null;

function medians(samples: Series["samples"], quantity: keyof Sample): ByRunner<number> {
  const found: Partial<Record<Name, number>> = {};
  for (const [name, list] of Object.entries(samples) as [Name, readonly Sample[]][]) {
    const values = list.map((sample) => sample[quantity]).filter(isNumber);
    if (values.length > 0) found[name] = median(values);
  }
  return found;
}

/** Combines two numbers, if both are there. */
function both(a: number | undefined, b: number | undefined, combine: (a: number, b: number) => number): number | null {
  return a === undefined || b === undefined ? null : combine(a, b);
}

/** One job's medians and ratios. */
export function rowOf({ job, samples }: Series): Row {
  const divide = (a: number, b: number): number => a / b;
  const [time, memory] = [medians(samples, "time"), medians(samples, "memory")];
  const first = samples.goemu?.[0]?.time;
  return {
    job: job.name,
    group: job.group,
    floatingPoint: job.floatingPoint ?? false,
    time,
    toNative: both(time.goemu, time.native, divide),
    toQemu: both(time.goemu, time.qemu, divide),
    first: first ?? null,
    firstToNative: both(first, time.native, divide),
    firstToQemu: both(first, time.qemu, divide),
    cpu: medians(samples, "cpu"),
    memory,
    memoryAbove: both(memory.goemu, memory.native, (a, b) => a - b),
    samples,
  };
}

function meansOf(rows: readonly Row[]): Means {
  const mean = (values: readonly (number | null)[]): number | null => {
    const numbers = values.filter(isNumber);
    return numbers.length === 0 ? null : geometricMean(numbers);
  };
  return {
    jobs: rows.length,
    toNative: mean(rows.map((row) => row.toNative)),
    toQemu: mean(rows.map((row) => row.toQemu)),
  };
}

function worstOf(rows: readonly Row[], quantity: "toNative" | "toQemu" | "memoryAbove"): Worst | null {
  let worst: Worst | null = null;
  for (const { job, [quantity]: value } of rows) {
    if (value !== null && (worst === null || value > worst.value)) worst = { job, value };
  }
  return worst;
}

/** The suite's means and extremes; other jobs do not count. */
export function summaryOf(rows: readonly Row[]): Summary {
  const suite = rows.filter(({ group }) => group === "suite");
  return {
    all: meansOf(suite),
    first: meansOf(suite.map((row) => ({ ...row, toNative: row.firstToNative, toQemu: row.firstToQemu }))),
    floatingPoint: meansOf(suite.filter(({ floatingPoint }) => floatingPoint)),
    worstToNative: worstOf(suite, "toNative"),
    worstToQemu: worstOf(suite, "toQemu"),
    mostMemoryAbove: worstOf(suite, "memoryAbove"),
  };
}

const MISSING = "–";
const withUnit = (value: number | null | undefined, unit: string): string =>
  value === null || value === undefined ? MISSING : `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${unit}`;
const times = (value: number | null): string => (value === null ? MISSING : `${value.toFixed(2)}×`);

/** A table in Markdown: the first column to the left, numbers to the right. */
function table(head: readonly string[], cells: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i].length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(" | ")} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  return [line(head), rule, ...cells.map(line)].join("\n");
}

const NAMES: readonly Name[] = ["native", "qemu", "goemu"];
const TITLES = ["native", "qemu-x86_64", "goemu"];
const labelOf = (row: Row): string => row.job + (row.floatingPoint ? " (floating point)" : "");

/** Times and their ratios, a line for each job. */
export function formatTimes(rows: readonly Row[]): string {
  return table(
    ["time", ...TITLES, "goemu / native", "goemu / qemu", "first run", "first / qemu"],
    rows.map((row) => [
      labelOf(row),
      ...NAMES.map((name) => withUnit(row.time[name], "ms")),
      times(row.toNative),
      times(row.toQemu),
      withUnit(row.first, "ms"),
      times(row.firstToQemu),
    ]),
  );
}

/** Peak memory, a line for each job. */
export function formatMemory(rows: readonly Row[]): string {
  return table(
    ["peak memory", ...TITLES, "goemu − native"],
    rows.map((row) => [
      row.job,
      ...NAMES.map((name) => withUnit(row.memory[name], "MiB")),
      withUnit(row.memoryAbove, "MiB"),
    ]),
  );
}

/** Means and extremes over the suite. */
export function formatSummary(summary: Summary): string {
  const worst = (value: Worst | null, show: (value: number) => string): string =>
    value === null ? MISSING : `${show(value.value)} (${value.job})`;
  const means = (title: string, { jobs, toNative, toQemu }: Means): string[] => [
    `${title} (${jobs})`,
    times(toNative),
    times(toQemu),
  ];
  const figures = table(
    ["over the suite", "goemu / native", "goemu / qemu"],
    [
      means("geometric mean, all", summary.all),
      means("geometric mean, floating point", summary.floatingPoint),
      means("geometric mean, first runs", summary.first),
      ["worst", worst(summary.worstToNative, times), worst(summary.worstToQemu, times)],
    ],
  );
  const memory = worst(summary.mostMemoryAbove, (value) => withUnit(value, "MiB"));
  return `${figures}\n\nMemory above the guest's own: at most ${memory}`;
}
