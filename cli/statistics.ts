import type { Statistics } from "../syscalls/machine.ts";

const MEBI = 2 ** 20;

/** What `--stats` prints at the end. */
export function formatStatistics(statistics: Statistics, format: "text" | "json"): string {
  const mips = statistics.seconds > 0 ? statistics.instructions / statistics.seconds / 1e6 : 0;
  if (format === "json") {
    return `${JSON.stringify({ version: 1, ...statistics, mips })}\n`;
  }
  const rows: [string, string][] = [
    ["instructions", statistics.instructions.toLocaleString("en")],
    ["time", `${statistics.seconds.toFixed(3)} s`],
    ["speed", `${mips.toFixed(1)} million instructions/s`],
    ["tiers", tierShares(statistics)],
    ["regions", regions(statistics)],
    ["decoded", `${statistics.decodedInstructions} instructions in ${statistics.blocks} blocks`],
    ["handlers", String(statistics.handlers)],
    ["system calls", String(statistics.syscalls)],
    ["threads", `${statistics.threads} started, at most ${statistics.peakThreads} at a time`],
    ["thread switches", String(statistics.switches)],
    [
      "guest memory",
      `${mebi(statistics.peakGuestMemory)} accessible at most, ${mebi(statistics.residentGuestMemory)} in use at the end`,
    ],
  ];
  return rows.map(([name, value]) => `goemu: ${name.padEnd(16)} ${value}\n`).join("");
}

const mebi = (bytes: number): string => `${(bytes / MEBI).toFixed(1)} MiB`;

const percent = (part: number, whole: number): string => `${(whole > 0 ? (part / whole) * 100 : 0).toFixed(1)} %`;

/** Which tier ran how many of the instructions. */
function tierShares({ instructions, interpretedInstructions }: Statistics): string {
  const compiled = percent(instructions - interpretedInstructions, instructions);
  return `${percent(interpretedInstructions, instructions)} of the instructions interpreted, ${compiled} compiled`;
}

/** What the second tier made, and what it took. */
function regions(statistics: Statistics): string {
  const { compiledInstructions, regionBytes, seconds, restoredRegions } = statistics;
  const { compileMilliseconds, longestCompileMilliseconds, asideCompileMilliseconds } = statistics;
  const share = percent(compileMilliseconds / 1000, seconds);
  const waited = `${compileMilliseconds.toFixed(0)} ms (${share} of the time, at most ${longestCompileMilliseconds.toFixed(1)} ms at a time)`;
  const aside =
    asideCompileMilliseconds === 0 ? "" : ` and ${asideCompileMilliseconds.toFixed(0)} ms in another thread`;
  const made = `${statistics.regions} of ${compiledInstructions} instructions, ${regionBytes} bytes, ${waited}${aside}`;
  return restoredRegions === 0 ? made : `${made}; ${restoredRegions} from the cache`;
}
