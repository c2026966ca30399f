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
    [
      "regions",
      `${statistics.regions} of ${statistics.compiledInstructions} instructions, ${statistics.regionBytes} bytes, ${statistics.compileMilliseconds.toFixed(0)} ms`,
    ],
    ["decoded", `${statistics.decodedInstructions} instructions in ${statistics.blocks} blocks`],
    ["handlers", String(statistics.handlers)],
    ["system calls", String(statistics.syscalls)],
    ["threads", `${statistics.threads} started, at most ${statistics.peakThreads} at a time`],
    ["thread switches", String(statistics.switches)],
    ["guest memory", `${(statistics.peakGuestMemory / MEBI).toFixed(1)} MiB accessible at most`],
  ];
  return rows.map(([name, value]) => `goemu: ${name.padEnd(16)} ${value}\n`).join("");
}
