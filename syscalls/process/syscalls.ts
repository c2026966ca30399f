import { PAGE_SIZE } from "../../emu/layout.ts";
import { CAP } from "../abi/capabilities.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import { O_NONBLOCK } from "../abi/fcntl.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import { bytesToPath } from "../files/path.ts";
import { tellOrphans } from "../kernel/jobs.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { OS_RELEASE, OS_VERSION } from "../proc/system-files.ts";
import { PTRACE_SYSCALLS } from "../ptrace/syscalls.ts";
import { sentBy } from "../signals/info.ts";
import { checkSignal } from "../signals/syscalls.ts";
import { row } from "../table.ts";
import { CREDENTIAL_SYSCALLS, changeAmbient, LAST_CAPABILITY } from "./credentials.ts";
import { execve, execveat } from "./exec.ts";
import { RLIM_INFINITY, RLIMIT } from "./limits.ts";
import { NAMESPACE_SYSCALLS } from "./namespaces.ts";
import { PidFd } from "./pidfd.ts";
import { wait4, waitid } from "./wait.ts";

type Handler = (process: LinuxProcess, thread: LinuxThread, args: Args) => SyscallResult;

/**
 * arch_prctl(2): ARCH_SET_GS, ARCH_SET_FS, ARCH_GET_FS, ARCH_GET_GS; ARCH_GET_CPUID, which is always allowed here, so that
 * ARCH_SET_CPUID is not there (ENODEV).
 */
const archPrctl: Handler = (process, thread, args) => {
  const value = args.u64(1);
  switch (args.i32(0)) {
    case 0x1001:
    case 0x1002:
      // A base must be a user address (arch/x86/kernel/process_64.c, do_arch_prctl_64).
      if (value >= 0x7fff_ffff_f000n) throw new SyscallError("EPERM");
      if (args.i32(0) === 0x1002) thread.cpu.fsBase = value;
      else thread.cpu.gsBase = value;
      return 0;
    case 0x1003:
      process.memory.writeU64(args.address(1), thread.cpu.fsBase);
      return 0;
    case 0x1004:
      process.memory.writeU64(args.address(1), thread.cpu.gsBase);
      return 0;
    case 0x1011:
      return 1;
    case 0x1012:
      throw new SyscallError("ENODEV");
    default:
      throw new SyscallError("EINVAL");
  }
};

const TASK_COMM_LEN = 16;
const PR = {
  SET_PDEATHSIG: 1,
  GET_PDEATHSIG: 2,
  GET_DUMPABLE: 3,
  SET_DUMPABLE: 4,
  GET_KEEPCAPS: 7,
  SET_KEEPCAPS: 8,
  CAPBSET_READ: 23,
  CAPBSET_DROP: 24,
  CAP_AMBIENT: 47,
  SET_NAME: 15,
  GET_NAME: 16,
  SET_NO_NEW_PRIVS: 38,
  GET_NO_NEW_PRIVS: 39,
  SET_CHILD_SUBREAPER: 36,
  GET_CHILD_SUBREAPER: 37,
} as const;

/** prctl(2): names, what happens at a parent's end, and the flags that change nothing here; EINVAL for the rest, as a kernel without them says. */
const prctl: Handler = (process, thread, args) => {
  const { credentials } = process;
  switch (args.i32(0)) {
    case PR.SET_NAME: {
      const name =
        process.memory.readCString(args.address(1), TASK_COMM_LEN) ?? process.memory.readBytes(args.address(1), 15);
      thread.name = bytesToPath(name.subarray(0, TASK_COMM_LEN - 1));
      return 0;
    }
    case PR.GET_NAME: {
      const bytes = new Uint8Array(TASK_COMM_LEN);
      for (let i = 0; i < Math.min(thread.name.length, TASK_COMM_LEN - 1); i++) bytes[i] = thread.name.charCodeAt(i);
      process.memory.writeBytes(args.address(1), bytes);
      return 0;
    }
    case PR.SET_PDEATHSIG:
      if (args.address(1) > 64) throw new SyscallError("EINVAL");
      process.deathSignal = args.i32(1);
      return 0;
    case PR.GET_PDEATHSIG:
      process.memory.writeU32(args.address(1), process.deathSignal);
      return 0;
    case PR.SET_CHILD_SUBREAPER:
      process.isSubreaper = args.address(1) !== 0;
      return 0;
    case PR.GET_CHILD_SUBREAPER:
      process.memory.writeU32(args.address(1), process.isSubreaper ? 1 : 0);
      return 0;
    case PR.GET_DUMPABLE:
      return 1;
    case PR.SET_DUMPABLE:
      return args.address(1) > 1 ? -errno.EINVAL : 0;
    case PR.SET_NO_NEW_PRIVS:
      if (args.address(1) !== 1 || args.address(2) !== 0 || args.address(3) !== 0 || args.address(4) !== 0)
        throw new SyscallError("EINVAL");
      credentials.noNewPrivileges = true;
      return 0;
    case PR.GET_NO_NEW_PRIVS:
      return credentials.noNewPrivileges ? 1 : 0;
    case PR.GET_KEEPCAPS:
      return credentials.keepsCapabilities ? 1 : 0;
    case PR.SET_KEEPCAPS:
      if (args.address(1) > 1) throw new SyscallError("EINVAL");
      credentials.keepsCapabilities = args.address(1) === 1;
      return 0;
    case PR.CAPBSET_READ:
      if (args.address(1) > LAST_CAPABILITY) throw new SyscallError("EINVAL");
      return credentials.bounding & (1n << args.u64(1)) ? 1 : 0;
    case PR.CAPBSET_DROP:
      if (!credentials.has(CAP.SETPCAP)) throw new SyscallError("EPERM");
      if (args.address(1) > LAST_CAPABILITY) throw new SyscallError("EINVAL");
      credentials.bounding &= ~(1n << args.u64(1));
      return 0;
    case PR.CAP_AMBIENT:
      return changeAmbient(credentials, args);
    default:
      throw new SyscallError("EINVAL");
  }
};

/** struct utsname: six fields of 65 bytes. */
const uname: Handler = (process, _thread, args) => {
  const fields = ["Linux", process.host.hostName(), OS_RELEASE, OS_VERSION, "x86_64", "(none)"];
  const bytes = new Uint8Array(65 * fields.length);
  for (const [i, text] of fields.entries()) bytes.set(new TextEncoder().encode(text).subarray(0, 64), i * 65);
  process.memory.writeBytes(args.address(0), bytes);
  return 0;
};

const getrlimit: Handler = (process, _thread, args) => {
  const limit = process.limits.get(args.u32(0));
  process.memory.writeU64(args.address(1), limit.soft);
  process.memory.writeU64(args.address(1) + 8, limit.hard);
  return 0;
};

function setLimit(process: LinuxProcess, resource: number, address: number, target = process): void {
  const soft = process.memory.readU64(address);
  const hard = process.memory.readU64(address + 8);
  target.limits.set(resource, { soft, hard }, process.euid === 0);
  if (resource === RLIMIT.NOFILE)
    target.files.table.limit = soft === RLIM_INFINITY ? Number.MAX_SAFE_INTEGER : Number(soft);
}

const setrlimit: Handler = (process, _thread, args) => {
  setLimit(process, args.u32(0), args.address(1));
  return 0;
};

const prlimit64: Handler = (process, _thread, args) => {
  const [pid, resource, next, old] = [args.i32(0), args.u32(1), args.address(2), args.address(3)];
  const target = pid === 0 ? process : process.kernel.processOf(pid);
  if (target === undefined) throw new SyscallError("ESRCH");
  const before = target.limits.get(resource);
  if (next !== 0) setLimit(process, resource, next, target);
  if (old !== 0) {
    process.memory.writeU64(old, before.soft);
    process.memory.writeU64(old + 8, before.hard);
  }
  return 0;
};

/** struct sysinfo (112 bytes): uptime 0, loads 8, memory from 32, processes 80, unit 104. */
const sysinfo: Handler = (process, _thread, args) => {
  const bytes = new Uint8Array(112);
  const view = new DataView(bytes.buffer);
  const { space } = process.memory;
  view.setBigUint64(0, BigInt(Math.floor(process.clock.monotonicNs() / 1e9)), true);
  view.setBigUint64(32, BigInt(space.size), true);
  view.setBigUint64(40, BigInt(Math.max(0, space.size - space.residentBytes)), true);
  view.setUint16(80, process.kernel.threads.size, true);
  view.setUint32(104, 1, true);
  process.memory.writeBytes(args.address(0), bytes);
  return 0;
};

const getrandom: Handler = (process, _thread, args) => {
  const [address, length, flags] = [args.address(0), args.address(1), args.u32(2)];
  if (flags & ~7 || (flags & 6) === 6) throw new SyscallError("EINVAL");
  const count = Math.min(length, 0x1ff_ffff);
  const bytes = new Uint8Array(Math.min(count, PAGE_SIZE));
  for (let done = 0; done < count; done += bytes.length) {
    const piece = bytes.subarray(0, Math.min(bytes.length, count - done));
    process.host.randomBytes(piece);
    process.memory.writeBytes(address + done, piece);
  }
  return count;
};

/** The process that a number names, 0 for the caller's. @throws SyscallError ESRCH */
function processBy(process: LinuxProcess, pid: number): LinuxProcess {
  const found = pid === 0 ? process : process.kernel.processOf(pid);
  if (found === undefined) throw new SyscallError("ESRCH");
  return found;
}

/** membarrier(2): one host thread runs all guest threads, so that every barrier holds already. */
const membarrier: Handler = (_process, _thread, args) => {
  if (args.u32(1) !== 0) throw new SyscallError("EINVAL");
  const command = args.i32(0);
  if (command === 0) return 0x1b;
  if (![1, 2, 8, 16].includes(command)) throw new SyscallError("EINVAL");
  return 0;
};

/** setpgid(2) (kernel/sys.c). */
const setpgid: Handler = (process, _thread, args) => {
  const [pid, wanted] = [args.i32(0), args.i32(1)];
  if (wanted < 0) throw new SyscallError("EINVAL");
  const { kernel } = process;
  // A thread's number is none of a process here.
  const target = pid === 0 ? process : kernel.processes.get(pid);
  if (target === undefined) {
    if (kernel.threads.has(pid)) throw new SyscallError("EINVAL");
    throw new SyscallError("ESRCH");
  }
  if (target !== process) {
    if (target.parent !== process) throw new SyscallError("ESRCH");
    if (target.session !== process.session) throw new SyscallError("EPERM");
    if (target.hasExecuted) throw new SyscallError("EACCES");
  }
  if (target.session === target.pid) throw new SyscallError("EPERM");
  const group = wanted === 0 ? target.pid : wanted;
  if (group !== target.pid) {
    const isThere = [...kernel.group(group)].some(({ session }) => session === process.session);
    if (!isThere) throw new SyscallError("EPERM");
  }
  if (target.group === group) return 0;
  tellOrphans(target, target.parent);
  target.group = group;
  return 0;
};

/** setsid(2) (kernel/sys.c, ksys_setsid). */
const setsid: Handler = (process) => {
  for (const other of process.kernel.processes.values())
    if (other.group === process.pid) throw new SyscallError("EPERM");
  tellOrphans(process, process.parent);
  process.group = process.pid;
  process.session = process.pid;
  return process.pid;
};

const pidfdOpen: Handler = (process, _thread, args) => {
  const [pid, flags] = [args.i32(0), args.u32(1)];
  if (flags & ~O_NONBLOCK || pid <= 0) throw new SyscallError("EINVAL");
  const target = process.kernel.processes.get(pid);
  // Descriptors of threads (PIDFD_THREAD) are newer.
  if (target === undefined) throw new SyscallError(process.kernel.threads.has(pid) ? "EINVAL" : "ESRCH");
  return process.files.table.install(new PidFd(target.self, flags), true);
};

const pidfdSendSignal: Handler = (process, _thread, args) => {
  const description = process.files.table.get(args.u32(0));
  if (args.u32(3) !== 0) throw new SyscallError("EINVAL");
  if (!(description instanceof PidFd)) throw new SyscallError("EBADF");
  checkSignal(args.i32(1));
  const target = description.child.process;
  if (target === undefined || process.kernel.processes.get(target.pid) !== target) throw new SyscallError("ESRCH");
  if (args.i32(1) !== 0) target.receive(sentBy(process, args.i32(1)));
  return 0;
};

/** pidfd_getfd(2): a descriptor of another process. */
const pidfdGetfd: Handler = (process, _thread, args) => {
  if (args.u32(2) !== 0) throw new SyscallError("EINVAL");
  const description = process.files.table.get(args.u32(0));
  if (!(description instanceof PidFd)) throw new SyscallError("EBADF");
  const target = description.child.process;
  if (target === undefined || target.finished) throw new SyscallError("ESRCH");
  return process.files.table.install(target.files.table.get(args.u32(1)), true);
};

const one =
  (value: (process: LinuxProcess) => number): Handler =>
  (process) =>
    value(process);

export const PROCESS_SYSCALLS = [
  ...CREDENTIAL_SYSCALLS,
  ...NAMESPACE_SYSCALLS,
  ...PTRACE_SYSCALLS,
  row(
    39,
    "getpid",
    [],
    one((p) => p.pid),
  ),
  row(59, "execve", ["path", "address", "address"], execve),
  row(61, "wait4", ["int", "address", "int", "address"], wait4),
  row(322, "execveat", ["dirfd", "path", "address", "address", "atFlags"], execveat),
  row(63, "uname", ["utsname"], uname),
  row(97, "getrlimit", ["resource", "rlimit"], getrlimit),
  row(99, "sysinfo", ["address"], sysinfo),
  row(
    110,
    "getppid",
    [],
    one((p) => p.ppid),
  ),
  row(
    111,
    "getpgrp",
    [],
    one((p) => p.group),
  ),
  row(109, "setpgid", ["int", "int"], setpgid),
  row(112, "setsid", [], setsid),
  row(121, "getpgid", ["int"], (p: LinuxProcess, _t: LinuxThread, args: Args) => processBy(p, args.i32(0)).group),
  row(124, "getsid", ["int"], (p: LinuxProcess, _t: LinuxThread, args: Args) => processBy(p, args.i32(0)).session),
  row(
    157,
    "prctl",
    ["prctlOp", "hex", "hex", "hex", "hex"],
    prctl,
    "names, death signals, subreapers and flags that change nothing; EINVAL otherwise",
  ),
  row(158, "arch_prctl", ["archCode", "address"], archPrctl, "CPUID can't be forbidden"),
  row(160, "setrlimit", ["resource", "rlimit"], setrlimit),
  row(247, "waitid", ["int", "int", "address", "int", "address"], waitid),
  row(302, "prlimit64", ["int", "resource", "rlimit", "rlimit"], prlimit64),
  row(318, "getrandom", ["bufferOut", "size", "hex"], getrandom),
  row(324, "membarrier", ["int", "int", "int"], membarrier),
  row(424, "pidfd_send_signal", ["fd", "signal", "address", "hex"], pidfdSendSignal, "without a siginfo of one's own"),
  row(438, "pidfd_getfd", ["fd", "int", "hex"], pidfdGetfd),
  row(434, "pidfd_open", ["int", "hex"], pidfdOpen),
  row(334, "rseq", ["address", "size", "int", "hex"], () => -errno.ENOSYS, "not there; callers do without"),
];
