import { SyscallError } from "../abi/errno.ts";
import { O_NOCTTY } from "../abi/fcntl.ts";
import { type FileStat, S_IFCHR, S_IFDIR } from "../abi/stat.ts";
import { CharacterDevice, type DeviceBehaviour, FULL, NULL, random, ZERO } from "../files/devices.ts";
import { device, directory, link, type VirtualDirectory, type VirtualNode, virtualStat } from "../files/virtual.ts";
import type { Process } from "../process.ts";
import { TtyDescription } from "../tty/description.ts";
import type { Pty } from "../tty/pty.ts";
import { openSlave, PtyMaster } from "../tty/pty-master.ts";
import { processDirectory } from "./process-files.ts";
import { procFiles, sysFiles } from "./system-files.ts";

/** The names of /dev that are ours; all others are the host's. */
function devices(process: Process): VirtualDirectory {
  const memoryDevice = (name: string, major: number, minor: number, behaviour: DeviceBehaviour) => (): VirtualNode => {
    const path = `/dev/${name}`;
    const node = device(major, minor, (flags) => {
      return new CharacterDevice(path, flags, () => virtualStat(process, node, path), behaviour);
    });
    return node;
  };
  // Numbers: Documentation/admin-guide/devices.txt, major 1.
  const ours = directory({
    null: memoryDevice("null", 1, 3, NULL),
    zero: memoryDevice("zero", 1, 5, ZERO),
    full: memoryDevice("full", 1, 7, FULL),
    ptmx: () => multiplexer(process),
    pts: () => terminals(process),
    random: memoryDevice("random", 1, 8, random(process.host)),
    urandom: memoryDevice("urandom", 1, 9, random(process.host)),
    fd: () => link(() => "/proc/self/fd"),
    stdin: () => link(() => "/proc/self/fd/0"),
    stdout: () => link(() => "/proc/self/fd/1"),
    stderr: () => link(() => "/proc/self/fd/2"),
  });
  // Whose the session's terminal is, the host has to be asked: not for a file in /dev/shm.
  const tty = (): VirtualNode | undefined => controllingTerminal(process);
  return {
    ...ours,
    lookup: (name) => (name === "tty" ? tty() : ours.lookup(name)),
    entries: () => {
      const node = tty();
      return node === undefined ? ours.entries() : [...ours.entries(), ["tty", node]];
    },
  };
}

/** /dev/ptmx (ptmx(4)): each time it is opened it makes a pair of terminals. */
function multiplexer(process: Process): VirtualNode {
  const node = device(5, 2, (flags) => {
    const pty = process.ptys.make(process.euid, process.egid, process.clock.realtimeNs());
    return new PtyMaster(process.ptys, pty, flags, () => virtualStat(process, node, "/dev/ptmx"));
  });
  return node;
}

/** A terminal of the machine under a name; unless O_NOCTTY says otherwise it may become the caller's. */
function slave(process: Process, pty: Pty): VirtualNode {
  return {
    kind: "device",
    mode: S_IFCHR | 0o620,
    rdev: pty.device,
    stat: () => process.ptys.stat(pty),
    open: (flags, openFlags) => {
      if (pty.locked) throw new SyscallError("EIO");
      const description = openSlave(process.ptys, pty, flags);
      if (!(openFlags & O_NOCTTY) && description.readable) process.jobControl.opened(pty);
      return description;
    },
  };
}

/** /dev/pts: the machine's own; all others are the host's. */
function terminals(process: Process): VirtualDirectory {
  const lookup = (name: string): VirtualNode | undefined => {
    if (name === "ptmx") return multiplexer(process);
    const pty = process.ptys.find(name);
    return pty && slave(process, pty);
  };
  return { kind: "directory", mode: S_IFDIR | 0o755, lookup, entries: () => [] };
}

/** /dev/tty, where the session's terminal is the machine's; else it is the host's. */
function controllingTerminal(process: Process): VirtualNode | undefined {
  const pty = process.ptys.ofSession(process.job.session);
  if (pty === undefined) return undefined;
  const node = device(5, 0, (flags) => {
    const stat = (): FileStat => virtualStat(process, node, "/dev/tty");
    return new TtyDescription(pty, { path: "/dev/tty", stat }, flags);
  });
  return node;
}

function proc(process: Process): VirtualDirectory {
  const pid = String(process.pid);
  const others = [...process.others].map((each) => [String(each.pid), () => processDirectory(each)] as const);
  return directory({
    ...procFiles(process),
    ...Object.fromEntries(others),
    net: () => link(() => "self/net"),
    self: () => link(() => pid),
    "thread-self": () => link(() => `${pid}/task/${pid}`),
  });
}

/** The root of one of the trees that exist only in the machine. @param name "proc", "sys" or "dev" */
export function lookupTree(process: Process, name: string): VirtualNode {
  if (name === "proc") return proc(process);
  return name === "sys" ? sysFiles(process) : devices(process);
}
