// docs/programs.md: the yardstick's table.
import { geometricMean } from "../report.ts";
import { sourceName } from "./obtain.ts";
import type { Program } from "./program.ts";
import type { Cost, Result } from "./results.ts";

/** What the page says of the host. */
export interface Surroundings {
  readonly host: string;
  readonly qemu: string | null;
}

const MIB = 1 << 20;
const MISSING = "–";
/** Text in a cell of a table. */
const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const code = (text: string): string => `\`${text.replaceAll("`", "'")}\``;

function seconds(cost: Cost | undefined, which: keyof Cost = "time"): string {
  const ms = cost?.[which] ?? null;
  if (ms === null) return MISSING;
  return (ms / 1000).toFixed(ms < 10_000 ? 2 : 1);
}

/** The ratio of two runs' times on processors where both are known, of their times from start to end otherwise. */
export function ratio(one: Cost | undefined, other: Cost | undefined): number | null {
  if (one === undefined || other === undefined) return null;
  if (one.cpu !== null && other.cpu !== null && other.cpu > 0) return one.cpu / other.cpu;
  return one.time / other.time;
}

const times = (value: number | null): string => (value === null ? MISSING : `${value.toFixed(2)}×`);

/** How a program's job came out, in a word. */
export function verdict(result: Result | undefined): "as natively" | "differs" | "unsteady" | "not there" | "not run" {
  if (result === undefined) return "not run";
  if (result.missing !== undefined) return "not there";
  if (result.unsteady.length > 0) return "unsteady";
  return result.differences.length > 0 ? "differs" : "as natively";
}

function table(head: readonly string[], right: number, rows: readonly (readonly string[])[]): string[] {
  const rule = head.map((_, index) => (index < head.length - right ? "---" : "---:"));
  return [head, rule, ...rows.map((row) => row.map(cell))].map((line) => `| ${line.join(" | ")} |`);
}

function mean(results: readonly Result[], which: "first" | "second"): string {
  const ratios = results.map((result) => ratio(result[which], result.qemu)).filter((value) => value !== null);
  return ratios.length === 0 ? MISSING : `${geometricMean(ratios).toFixed(2)} (${ratios.length} programs)`;
}

/** The host's load averages from the least to the most. */
function loads(results: readonly Result[]): string {
  const known = results.map(({ load }) => load).filter((load) => load !== undefined);
  if (known.length === 0) return "unknown";
  return `${Math.min(...known).toFixed(1)} to ${Math.max(...known).toFixed(1)}`;
}

/** The page, of what is known. */
export function page(programs: readonly Program[], results: ReadonlyMap<string, Result>, about: Surroundings): string {
  const rows = programs.map((program) => ({ program, result: results.get(program.name) }));
  const there = rows.flatMap(({ result }) => (result === undefined ? [] : [result]));
  const count = (wanted: ReturnType<typeof verdict>): number =>
    rows.filter(({ result }) => verdict(result) === wanted).length;
  const right = there.filter((result) => verdict(result) === "as natively");
  const builds = new Set(there.map(({ build }) => build));
  const lines = [
    "# The yardstick: real programs",
    "",
    "Written by `npm run programs -- --update`; do not edit.",
    "",
    `Real programs from public packages, each with a real job, natively and under goemu: exit statuses, output,`,
    `files, screens, answers to clients. **${count("as natively")} of ${rows.length} do what they do natively.**`,
    `${count("differs")} differ, ${count("unsteady")} do natively not what the table wants, or not twice the same, ${count("not there")} could not be had, ${count("not run")} were not run.`,
    "",
    ...table(
      ["Program", "From", "Job", "Under goemu"],
      0,
      rows.map(({ program, result }) => [
        program.name,
        sourceName(program.source),
        program.job,
        verdict(result) + (program.left !== undefined && verdict(result) === "differs" ? `: ${program.left}` : ""),
      ]),
    ),
    "",
  ];
  const told = rows.flatMap(({ program, result }) => {
    const { missing, differences = [], qemuDifferences = [], unsteady = [] } = result ?? {};
    return [
      ...(missing !== undefined ? [`- ${program.name}: not there: ${code(missing)}`] : []),
      ...unsteady.map((line) => `- ${program.name}, natively: ${code(line)}`),
      ...differences.map((line) => `- ${program.name}, goemu's ${line.replace(": ", " run: ")}`),
      ...(qemuDifferences.length > 0 ? [`- ${program.name}, under qemu: ${code(qemuDifferences[0])}`] : []),
    ];
  });
  if (told.length > 0) lines.push("## Differences", "", ...told, "");
  lines.push(
    "## Times",
    "",
    "Seconds from start to end, without preparing; in a terminal, with what a person's keys and looks take. The *first* run",
    "finds no translations of earlier runs, the *second* those of the first. Ratios are of time on processors, where that",
    "is known, since that depends less on what else the host does; children that a program starts run in goemu as well,",
    `but natively under qemu. Geometric means over the programs that do as natively, to ${about.qemu ?? "qemu (not there)"}: first run`,
    `${mean(right, "first")}, second run ${mean(right, "second")}.`,
    "",
    ...table(
      [
        "Program",
        "MiB",
        "native",
        "qemu",
        "goemu, first",
        "goemu, second",
        "first / qemu",
        "second / qemu",
        "second / native",
      ],
      8,
      rows.flatMap(({ program, result }) => {
        if (result?.native === undefined) return [];
        const { size, native, qemu, first, second } = result;
        return [
          [
            program.name,
            (size / MIB).toFixed(1),
            ...[native, qemu, first, second].map((cost) => seconds(cost)),
            times(ratio(first, qemu)),
            times(ratio(second, qemu)),
            times(ratio(second, native)),
          ],
        ];
      }),
    ),
    "",
    `On ${about.host}, load ${loads(there)}; ${builds.size === 1 ? "one build" : `${builds.size} builds`} of goemu.`,
    "",
  );
  return lines.join("\n");
}
