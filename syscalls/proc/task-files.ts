import type { FileStat } from "../abi/stat.ts";
import { FileDescription } from "../files/description.ts";
import { directory, file, magicLink, type VirtualDirectory, type VirtualNode, virtualStat } from "../files/virtual.ts";
import type { Process } from "../process.ts";

const constant =
  (text: string, mode = 0o444): (() => VirtualNode) =>
  (): VirtualNode =>
    file(() => text, mode);

/** Inodes of the first namespaces of a machine (include/linux/proc_ns.h, PROC_*_INIT_INO; net and mnt: the next ones). */
const NAMESPACES: readonly (readonly [name: string, type: string, inode: number])[] = [
  ["cgroup", "cgroup", 0xefff_fffb],
  ["ipc", "ipc", 0xefff_ffff],
  ["mnt", "mnt", 0xf000_0001],
  ["net", "net", 0xf000_0000],
  ["pid", "pid", 0xefff_fffc],
  ["pid_for_children", "pid", 0xefff_fffc],
  ["time", "time", 0xefff_fffa],
  ["time_for_children", "time", 0xefff_fffa],
  ["user", "user", 0xefff_fffd],
  ["uts", "uts", 0xefff_fffe],
];

const CONTENTS = file(() => "");

/** A namespace that is open: something to hold, without contents (fs/nsfs.c). */
class Namespace extends FileDescription {
  readonly path: string;
  readonly #stat: () => FileStat;

  constructor(path: string, flags: number, stat: () => FileStat) {
    super(flags);
    this.path = path;
    this.#stat = stat;
  }

  override stat(): FileStat {
    return this.#stat();
  }

  override reopen(flags: number): FileDescription {
    return new Namespace(this.path, flags, this.#stat);
  }
}

/** /proc/pid/ns (namespaces(7)): the machine has one of each kind. */
function namespaces(process: Process): VirtualDirectory {
  const entries = NAMESPACES.map(([name, type, inode]): [string, () => VirtualNode] => {
    const text = `${type}:[${inode}]`;
    const stat = (): FileStat => ({ ...virtualStat(process, CONTENTS, `/proc/ns/${name}`), ino: BigInt(inode) });
    return [
      name,
      () =>
        magicLink(
          () => text,
          () => new Namespace(text, 0, stat),
          0o777,
        ),
    ];
  });
  return directory(Object.fromEntries(entries));
}

/** /proc/pid/io (fs/proc/base.c, do_io_accounting). The host does not tell what reaches its disks. */
function ioText(process: Process): string {
  const { rchar, wchar, syscr, syscw } = process.files.io;
  const rows = Object.entries({ rchar, wchar, syscr, syscw, read_bytes: 0, write_bytes: 0, cancelled_write_bytes: 0 });
  return rows.map(([name, value]) => `${name}: ${value}\n`).join("");
}

/** All ids are mapped to themselves (user_namespaces(7)). */
const ALL_IDS = `${"0".padStart(10)} ${"0".padStart(10)} ${"4294967295".padStart(10)}\n`;

/** Files of a process and of its threads beside those that every program reads. */
export function rarerTaskFiles(process: Process, cpuTime: () => number): Record<string, () => VirtualNode> {
  return {
    coredump_filter: constant("00000033\n"),
    gid_map: constant(ALL_IDS),
    io: () => file(() => ioText(process), 0o400),
    loginuid: constant("4294967295"),
    mountstats: constant(
      [
        "device /dev/root mounted on / with fstype ext4\n",
        "device proc mounted on /proc with fstype proc\n",
        "device sysfs mounted on /sys with fstype sysfs\n",
        "device cgroup mounted on /sys/fs/cgroup with fstype cgroup2\n",
      ].join(""),
      0o400,
    ),
    ns: () => namespaces(process),
    oom_score: constant("0\n"),
    personality: constant("00000000\n", 0o400),
    schedstat: () => file(() => `${Math.floor(cpuTime())} 0 0\n`),
    sessionid: constant("4294967295"),
    setgroups: constant("allow\n"),
    timers: constant(""),
    uid_map: constant(ALL_IDS),
    wchan: constant("0"),
  };
}
