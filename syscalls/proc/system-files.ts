import { SyscallError } from "../abi/errno.ts";
import { O_RDONLY } from "../abi/fcntl.ts";
import { MAX_QUEUED_EVENTS, MAX_USER_WATCHES } from "../abi/inotify.ts";
import { NR_OPEN } from "../files/fd-table.ts";
import { bytesToPath, textToPath } from "../files/path.ts";
import { PIPE_MAX } from "../files/pipe.ts";
import { directory, file, type VirtualDirectory, type VirtualNode } from "../files/virtual.ts";
import { FIRST_EPHEMERAL, LAST_EPHEMERAL } from "../net/port-table.ts";
import type { Process } from "../process.ts";
import { interfaceFiles } from "./interface-files.ts";
import { kernelFiles } from "./kernel-files.ts";

/** The Linux that the guest sees (uname(2) says the same). */
export const OS_RELEASE = "6.1.0-goemu";
export const OS_VERSION = "#1 SMP PREEMPT_DYNAMIC goemu";
/** Clock ticks a second in /proc (USER_HZ). */
const USER_HZ = 100;

const constant =
  (text: string): (() => VirtualNode) =>
  (): VirtualNode =>
    file(() => text);

/** /proc/cpuinfo (arch/x86/kernel/cpu/proc.c, show_cpuinfo). */
function cpuinfoText(process: Process): string {
  const { vendor, brand, flags } = process.cpuDescription;
  let text = "";
  for (let cpu = 0; cpu < process.cpus; cpu++) {
    text += [
      `processor\t: ${cpu}`,
      `vendor_id\t: ${vendor}`,
      "cpu family\t: 6",
      `model name\t: ${brand}`,
      "physical id\t: 0",
      `siblings\t: ${process.cpus}`,
      `core id\t\t: ${cpu}`,
      `cpu cores\t: ${process.cpus}`,
      "fpu\t\t: yes",
      "fpu_exception\t: yes",
      `flags\t\t: ${flags.join(" ")}`,
      "clflush size\t: 64",
      "cache_alignment\t: 64",
      "address sizes\t: 48 bits physical, 48 bits virtual",
      "\n",
    ].join("\n");
  }
  return textToPath(text);
}

function meminfoText(process: Process): string {
  const { size, residentBytes, promisedBytes } = process.memory.space;
  const total = Math.floor(size / 1024);
  const free = Math.max(0, total - Math.ceil(residentBytes / 1024));
  const line = (name: string, kilobytes: number): string =>
    `${`${name}:`.padEnd(16)}${String(kilobytes).padStart(8)} kB\n`;
  return [
    line("MemTotal", total),
    line("MemFree", free),
    line("MemAvailable", free),
    line("Buffers", 0),
    line("Cached", 0),
    line("SwapTotal", 0),
    line("SwapFree", 0),
    line("CommitLimit", total),
    line("Committed_AS", Math.ceil(promisedBytes / 1024)),
  ].join("");
}

/** Clock ticks of /proc in so many ns. */
export const ticks = (ns: number): number => Math.floor(ns / (1e9 / USER_HZ));

/** /proc/stat (fs/proc/stat.c, show_stat). The process's CPU time is the machine's; the CPUs have equal parts of it. */
function statText(process: Process): string {
  const line = (name: string, cpus: number): string => {
    const user = ticks((process.cpuTime / process.cpus) * cpus);
    const idle = Math.max(0, ticks(process.clock.monotonicNs() * cpus) - user);
    return `${name} ${user} 0 0 ${idle} 0 0 0 0 0 0\n`;
  };
  const cpus = Array.from({ length: process.cpus }, (_, i) => line(`cpu${i}`, 1)).join("");
  const uptime = process.clock.monotonicNs() / 1e9;
  const boot = Math.floor(Number(process.clock.realtimeNs()) / 1e9 - uptime);
  const threads = [...process.threads].length;
  return `${line("cpu ", process.cpus)}${cpus}intr 0\nctxt 0\nbtime ${boot}\nprocesses 1\nprocs_running ${threads}\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n`;
}

function uptimeText(process: Process): string {
  const up = ticks(process.clock.monotonicNs());
  const idle = Math.max(0, up * process.cpus - ticks(process.cpuTime));
  return `${(up / USER_HZ).toFixed(2)} ${(idle / USER_HZ).toFixed(2)}\n`;
}

/** A random UUID of version 4 (drivers/char/random.c, proc_do_uuid). */
function uuidText(process: Process): string {
  const bytes = new Uint8Array(16);
  process.host.randomBytes(bytes);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return uuidOf(bytes);
}

/**
 * What /proc/sys/kernel/random/boot_id says. The processes of a machine, each a goemu, agree on the host's; without one
 * each has its own.
 */
const bootIds = new WeakMap<Process, string>();
function bootIdText(process: Process): string {
  const text = bootIds.get(process) ?? hostBootId(process) ?? uuidText(process);
  bootIds.set(process, text);
  return text;
}

function hostBootId(process: Process): string | undefined {
  try {
    const opened = process.host.files.open("/proc/sys/kernel/random/boot_id", O_RDONLY, 0);
    try {
      const bytes = new Uint8Array(64);
      const text = bytesToPath(bytes.subarray(0, opened.read(bytes, 0)));
      return /^[0-9a-f-]{36}\n$/.test(text) ? text : undefined;
    } finally {
      opened.close();
    }
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

function uuidOf(bytes: Uint8Array): string {
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")}\n`;
}

function countThreads(process: Process): number {
  let count = 0;
  for (const { threads } of process.others) count += [...threads].length;
  return count;
}

/** What /proc holds beside processes. */
export function procFiles(process: Process): Record<string, () => VirtualNode> {
  return {
    ...kernelFiles(process),
    cpuinfo: () => file(() => cpuinfoText(process)),
    filesystems: constant("nodev\tsysfs\nnodev\tproc\nnodev\ttmpfs\n\text4\n"),
    loadavg: () => file(() => `0.00 0.00 0.00 1/${countThreads(process)} ${process.pid}\n`),
    meminfo: () => file(() => meminfoText(process)),
    stat: () => file(() => statText(process)),
    uptime: () => file(() => uptimeText(process)),
    version: constant(`Linux version ${OS_RELEASE} (goemu) ${OS_VERSION}\n`),
    sys: () =>
      directory({
        fs: () =>
          directory({
            "file-max": constant("9223372036854775807\n"),
            "file-nr": () => file(() => `${[...process.files.table.entries()].length}\t0\t9223372036854775807\n`),
            inotify: () =>
              directory({
                max_queued_events: constant(`${MAX_QUEUED_EVENTS}\n`),
                max_user_watches: constant(`${MAX_USER_WATCHES}\n`),
              }),
            nr_open: constant(`${NR_OPEN}\n`),
            "pipe-max-size": constant(`${PIPE_MAX}\n`),
          }),
        kernel: () =>
          directory({
            cap_last_cap: constant("40\n"),
            hostname: () => file(() => `${textToPath(process.host.hostName())}\n`),
            osrelease: constant(`${OS_RELEASE}\n`),
            ostype: constant("Linux\n"),
            pid_max: constant("4194304\n"),
            random: () =>
              directory({
                boot_id: () => file(() => bootIdText(process)),
                entropy_avail: constant("256\n"),
                poolsize: constant("256\n"),
                uuid: () => file(() => uuidText(process)),
              }),
            "threads-max": constant("8192\n"),
            version: constant(`${OS_VERSION}\n`),
          }),
        net: () =>
          directory({
            core: () => directory({ somaxconn: constant("4096\n") }),
            ipv4: () => directory({ ip_local_port_range: constant(`${FIRST_EPHEMERAL}\t${LAST_EPHEMERAL}\n`) }),
          }),
        vm: () => directory({ max_map_count: constant("65530\n"), overcommit_memory: constant("0\n") }),
      }),
  };
}

/** The process's control group, as a container sees its own (Documentation/admin-guide/cgroup-v2.rst). */
function cgroupFiles(process: Process): VirtualDirectory {
  const { space } = process.memory;
  const max = Number.isFinite(space.limit) ? String(space.limit) : "max";
  return directory({
    "cgroup.controllers": constant("cpu memory\n"),
    "cgroup.procs": () => file(() => [...process.others].map(({ pid }) => `${pid}\n`).join("")),
    "cpu.max": constant("max 100000\n"),
    "memory.current": () => file(() => `${space.residentBytes}\n`),
    "memory.high": constant("max\n"),
    "memory.low": constant("0\n"),
    "memory.max": constant(`${max}\n`),
    "memory.min": constant("0\n"),
    "memory.swap.current": constant("0\n"),
    "memory.swap.max": constant("0\n"),
  });
}

/** /sys: what programs ask about the processors and about huge pages. */
export function sysFiles(process: Process): VirtualDirectory {
  const cpus = process.cpus === 1 ? "0\n" : `0-${process.cpus - 1}\n`;
  return directory({
    class: () => directory({ net: () => interfaceFiles(process) }),
    devices: () =>
      directory({
        system: () =>
          directory({
            cpu: () => directory({ online: constant(cpus), possible: constant(cpus), present: constant(cpus) }),
          }),
      }),
    fs: () => directory({ cgroup: () => cgroupFiles(process) }),
    kernel: () =>
      directory({
        mm: () =>
          directory({
            transparent_hugepage: () =>
              directory({
                enabled: constant("always [madvise] never\n"),
                hpage_pmd_size: constant("2097152\n"),
              }),
          }),
      }),
  });
}
