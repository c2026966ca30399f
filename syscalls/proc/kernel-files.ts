import { directory, file, link, type VirtualNode } from "../files/virtual.ts";
import type { Process } from "../process.ts";

const constant =
  (text: string): (() => VirtualNode) =>
  (): VirtualNode =>
    file(() => text);

/** /proc/vmstat (mm/vmstat.c, vmstat_show): pages that are in use; nothing is paged in or out by a kernel. */
function vmstatText(process: Process): string {
  const { size, residentBytes } = process.memory.space;
  const used = Math.ceil(residentBytes / 4096);
  const rows: [string, number][] = [
    ["nr_free_pages", Math.max(0, Math.floor(size / 4096) - used)],
    ["nr_anon_pages", used],
  ];
  const never = [
    "nr_mapped nr_file_pages nr_dirty nr_writeback nr_shmem pgpgin pgpgout pswpin pswpout pgfault pgmajfault",
    "pgscan_kswapd pgscan_direct pgsteal_kswapd pgsteal_direct oom_kill",
  ];
  for (const name of never.join(" ").split(" ")) rows.push([name, 0]);
  return rows.map(([name, value]) => `${name} ${value}\n`).join("");
}

const cpuColumns = (process: Process): string =>
  Array.from({ length: process.cpus }, (_, cpu) => `CPU${cpu}`.padEnd(11)).join("");

/** /proc/softirqs (fs/proc/softirqs.c, show_softirqs). */
function softirqsText(process: Process): string {
  const columns = Array.from({ length: process.cpus }, (_, cpu) => `CPU${cpu}`.padEnd(11)).join("");
  const zeros = ` ${"0".padStart(10)}`.repeat(process.cpus);
  const names = ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"];
  return `${" ".repeat(20)}${columns}\n${names.map((name) => `${`${name}:`.padStart(12)}${zeros}\n`).join("")}`;
}

/** Nobody waits for a resource that the kernel gives out (Documentation/accounting/psi.rst). */
const IDLE = "avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
const PRESSURE = `some ${IDLE}full ${IDLE}`;

/** Files of /proc about a kernel's parts that the machine has none of: no disks, no swap, no interrupts, no modules. */
export function kernelFiles(process: Process): Record<string, () => VirtualNode> {
  return {
    cmdline: constant("\n"),
    diskstats: constant(""),
    interrupts: () => file(() => `${" ".repeat(11)}${cpuColumns(process)}\n`),
    mounts: () => link(() => "self/mounts"),
    partitions: constant("major minor  #blocks  name\n\n"),
    pressure: () => directory({ cpu: constant(PRESSURE), io: constant(PRESSURE), memory: constant(PRESSURE) }),
    softirqs: () => file(() => softirqsText(process)),
    swaps: constant("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    vmstat: () => file(() => vmstatText(process)),
  };
}
