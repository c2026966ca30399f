import { SyscallError } from "../abi/errno.ts";
import { O_RDONLY } from "../abi/fcntl.ts";
import { S_IFDIR } from "../abi/stat.ts";
import { pathOf } from "../files/confine.ts";
import { openInMachine } from "../files/open.ts";
import { textToPath } from "../files/path.ts";
import {
  binaryFile,
  directory,
  file,
  magicLink,
  placeLink,
  type VirtualDirectory,
  type VirtualNode,
} from "../files/virtual.ts";
import type { Ids } from "../process/credentials.ts";
import { RLIM_INFINITY, RLIMIT } from "../process/limits.ts";
import type { Process } from "../process.ts";
import type { Thread } from "../thread.ts";
import { jobOf } from "../tty/job.ts";
import { mapsText, memoryUse, smapsRollupText, smapsText } from "./maps.ts";
import { netFiles } from "./net-files.ts";
import { ticks } from "./system-files.ts";
import { rarerTaskFiles } from "./task-files.ts";

const joined = (strings: readonly Uint8Array[]): Uint8Array => {
  const out = new Uint8Array(strings.reduce((sum, s) => sum + s.length + 1, 0));
  let at = 0;
  for (const s of strings) {
    out.set(s, at);
    at += s.length + 1;
  }
  return out;
};

/** What a process that has ended has. */
const NO_MEMORY = { size: 0, resident: 0, text: 0, data: 0, stack: 0 };

/** /proc/pid/stat (proc(5)): fields that we do not keep are 0, as they are for a process that has used nothing. */
function statText(process: Process, tid: number, name: string): string {
  const { size, resident } = process.state === "Z" ? NO_MEMORY : memoryUse(process);
  const fields: (number | bigint)[] = new Array(52).fill(0);
  const set = (number: number, value: number | bigint): void => {
    fields[number - 1] = value;
  };
  set(4, process.ppid);
  const job = jobOf(process);
  set(5, job.group); // pgrp
  set(6, job.session);
  set(7, job.terminal); // tty_nr
  set(8, job.terminal === 0n ? -1 : job.foreground); // tpgid
  set(14, ticks(process.cpuTime)); // utime: all of it, as times(2) says
  set(18, 20); // priority
  set(20, [...process.threads].length);
  set(22, ticks(process.startNs)); // starttime, since the machine's start
  set(23, size * 4096);
  set(24, resident);
  set(25, 0xffff_ffff_ffff_ffffn); // rsslim
  set(38, 17); // exit_signal: SIGCHLD
  return `${tid} (${name}) ${process.state} ${fields.slice(3).join(" ")}\n`;
}

/** fs/proc/array.c, task_state_array. */
const STATES: Readonly<Record<string, string>> = { R: "running", S: "sleeping", T: "stopped", Z: "zombie" };

/** /proc/pid/status (proc(5)). */
function statusText(process: Process, tid: number, name: string): string {
  const isZombie = process.state === "Z";
  const { size, resident, text, data, stack } = isZombie ? NO_MEMORY : memoryUse(process);
  const kilobytes = (pages: number): string => `${String(pages * 4).padStart(8)} kB`;
  const { credentials } = process;
  const ids = ({ real, effective, saved, file }: Ids): string => `${real}\t${effective}\t${saved}\t${file}`;
  const set = (bits: bigint): string => bits.toString(16).padStart(16, "0");
  const mask = "0".repeat(16);
  const cpuMask = ((1n << BigInt(process.cpus)) - 1n).toString(16);
  return [
    `Name:\t${name}`,
    `Umask:\t${process.files.umask.toString(8).padStart(4, "0")}`,
    `State:\t${process.state} (${STATES[process.state]})`,
    `Tgid:\t${process.pid}`,
    "Ngid:\t0",
    `Pid:\t${tid}`,
    `PPid:\t${process.ppid}`,
    "TracerPid:\t0",
    `Uid:\t${ids(credentials.user)}`,
    `Gid:\t${ids(credentials.group)}`,
    "FDSize:\t256",
    `Groups:\t${credentials.groups.map((id) => `${id} `).join("")}`,
    `VmPeak:\t${kilobytes(size)}`,
    `VmSize:\t${kilobytes(size)}`,
    `VmHWM:\t${kilobytes(resident)}`,
    `VmRSS:\t${kilobytes(resident)}`,
    `VmData:\t${kilobytes(data)}`,
    `VmStk:\t${kilobytes(stack)}`,
    `VmExe:\t${kilobytes(text)}`,
    `VmSwap:\t${kilobytes(0)}`,
    `Threads:\t${[...process.threads].length}`,
    `SigPnd:\t${mask}`,
    `ShdPnd:\t${mask}`,
    `CapInh:\t${set(credentials.inheritable)}`,
    `CapPrm:\t${set(credentials.permitted)}`,
    `CapEff:\t${set(credentials.effective)}`,
    `CapBnd:\t${set(credentials.bounding)}`,
    `CapAmb:\t${set(credentials.ambient)}`,
    `NoNewPrivs:\t${credentials.noNewPrivileges ? 1 : 0}`,
    "Seccomp:\t0",
    "Seccomp_filters:\t0",
    `Cpus_allowed:\t${cpuMask.padStart(8, "0")}`,
    `Cpus_allowed_list:\t${process.cpus === 1 ? "0" : `0-${process.cpus - 1}`}`,
    "Mems_allowed:\t00000001",
    "Mems_allowed_list:\t0",
    "voluntary_ctxt_switches:\t0",
    "nonvoluntary_ctxt_switches:\t0",
    "",
  ].join("\n");
}

/** Resources by number, with the names and units of /proc/pid/limits. */
const LIMITS: readonly (readonly [name: string, resource: number, unit: string])[] = [
  ["Max cpu time", 0, "seconds"],
  ["Max file size", 1, "bytes"],
  ["Max data size", 2, "bytes"],
  ["Max stack size", 3, "bytes"],
  ["Max core file size", 4, "bytes"],
  ["Max resident set", 5, "bytes"],
  ["Max processes", 6, "processes"],
  ["Max open files", RLIMIT.NOFILE, "files"],
  ["Max locked memory", 8, "bytes"],
  ["Max address space", 9, "bytes"],
  ["Max file locks", 10, "locks"],
  ["Max pending signals", 11, "signals"],
  ["Max msgqueue size", 12, "bytes"],
  ["Max nice priority", 13, ""],
  ["Max realtime priority", 14, ""],
  ["Max realtime timeout", 15, "us"],
];

/** /proc/pid/limits (fs/proc/base.c, proc_pid_limits). */
function limitsText(process: Process): string {
  const { table } = process.files;
  const rows = LIMITS.map(([name, resource, unit]) => {
    const { soft, hard } =
      resource === RLIMIT.NOFILE
        ? { soft: BigInt(table.limit), hard: BigInt(table.hardLimit) }
        : process.limits.get(resource);
    const text = (value: bigint): string => (value === RLIM_INFINITY ? "unlimited" : String(value));
    return [name, text(soft), text(hard), unit];
  });
  const line = (cells: readonly string[]): string =>
    `${cells[0].padEnd(25)} ${cells[1].padEnd(20)} ${cells[2].padEnd(20)} ${cells[3].padEnd(10)}\n`;
  return line(["Limit", "Soft Limit", "Hard Limit", "Units"]) + rows.map(line).join("");
}

/** Root and the trees that we add (proc(5), /proc/pid/mountinfo). */
const MOUNTINFO = [
  "1 0 8:1 / / rw,relatime - ext4 /dev/root rw\n",
  "2 1 0:21 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n",
  "3 1 0:22 / /sys rw,nosuid,nodev,noexec,relatime - sysfs sysfs rw\n",
  "4 3 0:23 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw\n",
].join("");
const MOUNTS = [
  "/dev/root / ext4 rw,relatime 0 0\n",
  "proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n",
  "sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0\n",
  "cgroup /sys/fs/cgroup cgroup2 ro,nosuid,nodev,noexec,relatime 0 0\n",
].join("");

function executable(process: Process): VirtualNode {
  if (process.state === "Z") throw new SyscallError("ENOENT");
  const path = textToPath(process.exePath);
  return magicLink(
    () => path,
    () => openInMachine(process, path, O_RDONLY),
    0o777,
  );
}

/** /proc/pid/fd: a link for each descriptor; its mode tells how the file was opened. */
function descriptors(process: Process): VirtualDirectory {
  const { table } = process.files;
  const node = (fd: number): VirtualNode | undefined => {
    const description = table.find(fd)?.description;
    if (description === undefined) return undefined;
    const mode = (description.readable ? 0o500 : 0) | (description.writable ? 0o300 : 0);
    return magicLink(
      () => description.path,
      () => description,
      mode,
    );
  };
  return {
    kind: "directory",
    mode: S_IFDIR | 0o500,
    lookup: (name) => (/^(0|[1-9]\d*)$/.test(name) ? node(Number(name)) : undefined),
    entries: () => [...table.entries()].map(([fd]) => [String(fd), node(fd) as VirtualNode]),
  };
}

/** /proc/pid/fdinfo (fs/proc/fd.c, seq_show). */
function descriptorInfo(process: Process): VirtualDirectory {
  const { table } = process.files;
  const node = (fd: number): VirtualNode | undefined => {
    const found = table.find(fd);
    if (found === undefined) return undefined;
    const { description } = found;
    const flags = description.flags | (found.closeOnExec ? 0o2000000 : 0);
    const text = `pos:\t${description.offset}\nflags:\t0${flags.toString(8)}\nmnt_id:\t1\nino:\t${description.stat().ino}\n`;
    return file(() => text + description.info, 0o400);
  };
  return {
    kind: "directory",
    mode: S_IFDIR | 0o555,
    lookup: (name) => (/^(0|[1-9]\d*)$/.test(name) ? node(Number(name)) : undefined),
    entries: () => [...table.entries()].map(([fd]) => [String(fd), node(fd) as VirtualNode]),
  };
}

const NOTHING = new Uint8Array(0);

/** What a process's directory and those of its threads have in common. */
function taskFiles(process: Process, tid: number, name: string): Record<string, () => VirtualNode> {
  const { files } = process;
  const ofMemory = <T>(none: T, make: () => T): T => (process.state === "Z" ? none : make());
  return {
    ...rarerTaskFiles(process, () => process.cpuTime),
    auxv: () => binaryFile(() => ofMemory(NOTHING, () => process.auxv)),
    cgroup: () => file(() => "0::/\n"),
    cmdline: () => binaryFile(() => ofMemory(NOTHING, () => joined(process.argv)), 0o444),
    comm: () => file(() => `${name}\n`, 0o644),
    cwd: () => placeLink(() => pathOf(files.cwd)),
    environ: () => binaryFile(() => ofMemory(NOTHING, () => joined(process.envp))),
    exe: () => executable(process),
    fd: () => descriptors(process),
    fdinfo: () => descriptorInfo(process),
    limits: () => file(() => limitsText(process)),
    maps: () => file(() => ofMemory("", () => mapsText(process))),
    mountinfo: () => file(() => MOUNTINFO),
    mounts: () => file(() => MOUNTS),
    net: () => netFiles(process),
    oom_score_adj: () => file(() => "0\n", 0o644),
    root: () => placeLink(() => (files.root === undefined ? "/" : pathOf(files.root))),
    smaps: () => file(() => ofMemory("", () => smapsText(process))),
    smaps_rollup: () => file(() => ofMemory("", () => smapsRollupText(process))),
    stat: () => file(() => statText(process, tid, name)),
    statm: () => file(() => statmText(process)),
    status: () => file(() => statusText(process, tid, name)),
  };
}

/** /proc/pid/statm in pages: size, resident, shared, text, 0, data, 0. */
function statmText(process: Process): string {
  const { size, resident, text, data } = process.state === "Z" ? NO_MEMORY : memoryUse(process);
  return `${size} ${resident} 0 ${text} 0 ${data} 0\n`;
}

function tasks(process: Process): VirtualDirectory {
  const node = (thread: Thread): VirtualNode =>
    directory(taskFiles(process, thread.tid, textToPath(thread.name).slice(0, 15)));
  return {
    kind: "directory",
    mode: S_IFDIR | 0o555,
    lookup: (name) => {
      const thread = [...process.threads].find(({ tid }) => String(tid) === name);
      return thread === undefined ? undefined : node(thread);
    },
    entries: () => [...process.threads].map((thread) => [String(thread.tid), node(thread)]),
  };
}

/** /proc/pid. */
export function processDirectory(process: Process): VirtualDirectory {
  const name = textToPath(process.comm).slice(0, 15);
  return directory({ ...taskFiles(process, process.pid, name), task: () => tasks(process) });
}
