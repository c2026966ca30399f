import { CAP } from "../abi/capabilities.ts";
import { SyscallError } from "../abi/errno.ts";
import { SIGNAL } from "../abi/signals.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { row } from "../table.ts";

/** CAP_CHECKPOINT_RESTORE. */
export const LAST_CAPABILITY = 40;
/** All that there are up to CAP_CHECKPOINT_RESTORE. */
const ALL = (1n << BigInt(LAST_CAPABILITY + 1)) - 1n;
/** Most supplementary groups (include/uapi/linux/limits.h, NGROUPS_MAX). */
const NGROUPS_MAX = 65_536;

/** Real, effective, saved id, and that for files. */
export interface Ids {
  real: number;
  effective: number;
  saved: number;
  file: number;
}

/**
 * Who a process is, and what it may do (credentials(7), capabilities(7); Linux: struct cred). Its threads have one set: C
 * libraries and Go's runtime set each thread's to the same.
 */
export class Credentials {
  readonly user: Ids;
  readonly group: Ids;
  groups: readonly number[];
  inheritable = 0n;
  permitted: bigint;
  effective: bigint;
  bounding = ALL;
  /** Those that a program without privileges of its own keeps at execve(2) (PR_CAP_AMBIENT); permitted and inheritable. */
  ambient = 0n;
  /** Keep permitted capabilities when no id is 0 any more (PR_SET_KEEPCAPS). */
  keepsCapabilities = false;
  noNewPrivileges = false;

  /** @param ids of a process that the host has started; without groups it has its own alone */
  constructor(ids: {
    readonly uid: number;
    readonly euid: number;
    readonly gid: number;
    readonly egid: number;
    readonly groups?: readonly number[];
  }) {
    this.user = { real: ids.uid, effective: ids.euid, saved: ids.euid, file: ids.euid };
    this.group = { real: ids.gid, effective: ids.egid, saved: ids.egid, file: ids.egid };
    this.groups = (ids.groups ?? [ids.gid]).toSorted((a, b) => a - b);
    this.permitted = ids.euid === 0 ? ALL : 0n;
    this.effective = this.permitted;
  }

  /** A child's. */
  fork(): Credentials {
    const { user, group } = this;
    const copy = new Credentials({ uid: user.real, euid: user.effective, gid: group.real, egid: group.effective });
    Object.assign(copy.user, user);
    Object.assign(copy.group, group);
    copy.groups = this.groups;
    copy.inheritable = this.inheritable;
    copy.permitted = this.permitted;
    copy.effective = this.effective;
    copy.bounding = this.bounding;
    copy.ambient = this.ambient;
    copy.keepsCapabilities = this.keepsCapabilities;
    copy.noNewPrivileges = this.noNewPrivileges;
    return copy;
  }

  has(capability: number): boolean {
    return (this.effective & (1n << BigInt(capability))) !== 0n;
  }

  /** What execve(2) of a program without a set-user-ID bit makes of it (capabilities(7), "Transformation"). */
  execute(): void {
    const { user, group } = this;
    user.saved = user.effective;
    user.file = user.effective;
    group.saved = group.effective;
    group.file = group.effective;
    const isRoot = user.effective === 0 || user.real === 0;
    this.permitted = this.ambient | (isRoot ? this.bounding | this.inheritable : 0n);
    this.effective = user.effective === 0 ? this.permitted : this.ambient;
    this.keepsCapabilities = false;
  }

  /** Sets user ids, and what that does to capabilities (security/commoncap.c, cap_emulate_setxuid). */
  setUser(ids: Omit<Ids, "file">): void {
    const { user } = this;
    const had = user.real === 0 || user.effective === 0 || user.saved === 0;
    const was = user.effective === 0;
    Object.assign(user, ids, { file: ids.effective });
    const has = user.real === 0 || user.effective === 0 || user.saved === 0;
    if (had && !has && !this.keepsCapabilities) {
      this.permitted = 0n;
      this.effective = 0n;
    }
    // Even where the permitted ones are kept: who wants ambient ones raises them afterwards.
    if (had && !has) this.ambient = 0n;
    if (was && user.effective !== 0) this.effective = 0n;
    if (!was && user.effective === 0) this.effective = this.permitted;
  }

  setGroup(ids: Omit<Ids, "file">): void {
    Object.assign(this.group, ids, { file: ids.effective });
  }
}

/** What PR_CAP_AMBIENT is to do (include/uapi/linux/prctl.h). */
const AMBIENT = { IS_SET: 1, RAISE: 2, LOWER: 3, CLEAR_ALL: 4 } as const;

/** prctl(PR_CAP_AMBIENT): looks at a process's ambient capabilities, or changes them (security/commoncap.c, cap_task_prctl). */
export function changeAmbient(credentials: Credentials, args: Args): number {
  const [operation, capability] = [args.u64(1), args.u64(2)];
  const rest = args.u64(3) | args.u64(4);
  if (operation === BigInt(AMBIENT.CLEAR_ALL)) {
    if ((capability | rest) !== 0n) throw new SyscallError("EINVAL");
    credentials.ambient = 0n;
    return 0;
  }
  if (rest !== 0n || capability > BigInt(LAST_CAPABILITY)) throw new SyscallError("EINVAL");
  const bit = 1n << capability;
  switch (Number(operation)) {
    case AMBIENT.IS_SET:
      return credentials.ambient & bit ? 1 : 0;
    case AMBIENT.RAISE:
      check((credentials.permitted & credentials.inheritable & bit) !== 0n);
      credentials.ambient |= bit;
      return 0;
    case AMBIENT.LOWER:
      credentials.ambient &= ~bit;
      return 0;
    default:
      throw new SyscallError("EINVAL");
  }
}

/** May a process send a signal to another (kernel/signal.c, check_kill_permission)? */
export function maySignal(sender: LinuxProcess, target: LinuxProcess, signal: number): boolean {
  const [from, to] = [sender.credentials, target.credentials];
  if (sender === target || (signal === SIGNAL.SIGCONT && sender.session === target.session)) return true;
  const mine = [from.user.effective, from.user.real];
  return from.has(CAP.KILL) || mine.some((id) => id === to.user.saved || id === to.user.real);
}

type Handler = (process: LinuxProcess, thread: LinuxThread, args: Args) => SyscallResult;

/** What differs between user and group ids. */
interface Kind {
  of(credentials: Credentials): Ids;
  readonly capability: number;
  set(credentials: Credentials, ids: Omit<Ids, "file">): void;
}
const USER: Kind = {
  of: ({ user }) => user,
  capability: CAP.SETUID,
  set: (credentials, ids) => credentials.setUser(ids),
};
const GROUP: Kind = {
  of: ({ group }) => group,
  capability: CAP.SETGID,
  set: (credentials, ids) => credentials.setGroup(ids),
};

const check = (isAllowed: boolean): void => {
  if (!isAllowed) throw new SyscallError("EPERM");
};

/** setuid(2), setgid(2): all ids with the capability, else the effective one, to one that the process has. */
const setId =
  (kind: Kind): Handler =>
  ({ credentials }, _thread, args) => {
    const id = args.u32(0);
    if (id === NONE) throw new SyscallError("EINVAL");
    const before = kind.of(credentials);
    if (credentials.has(kind.capability)) kind.set(credentials, { real: id, effective: id, saved: id });
    else {
      check(id === before.real || id === before.saved);
      kind.set(credentials, { ...before, effective: id });
    }
    return 0;
  };

/** -1: as it is. */
const NONE = 0xffff_ffff;

/** setreuid(2), setregid(2) (kernel/sys.c). */
const setTwo =
  (kind: Kind): Handler =>
  ({ credentials }, _thread, args) => {
    const before = kind.of(credentials);
    const [real, effective] = [args.u32(0), args.u32(1)];
    const isPrivileged = credentials.has(kind.capability);
    check(isPrivileged || real === NONE || real === before.real || real === before.effective);
    const known = [NONE, before.real, before.effective, before.saved];
    check(isPrivileged || known.includes(effective));
    const next = {
      real: real === NONE ? before.real : real,
      effective: effective === NONE ? before.effective : effective,
    };
    const changesSaved = real !== NONE || (effective !== NONE && effective !== before.real);
    kind.set(credentials, { ...next, saved: changesSaved ? next.effective : before.saved });
    return 0;
  };

/** setresuid(2), setresgid(2). */
const setThree =
  (kind: Kind): Handler =>
  ({ credentials }, _thread, args) => {
    const before = kind.of(credentials);
    const known = [NONE, before.real, before.effective, before.saved];
    const given = [args.u32(0), args.u32(1), args.u32(2)];
    check(credentials.has(kind.capability) || given.every((id) => known.includes(id)));
    const [real, effective, saved] = given.map((id, i) =>
      id === NONE ? [before.real, before.effective, before.saved][i] : id,
    );
    kind.set(credentials, { real, effective, saved });
    return 0;
  };

/** getresuid(2), getresgid(2). */
const getThree =
  (kind: Kind): Handler =>
  (process, _thread, args) => {
    const { real, effective, saved } = kind.of(process.credentials);
    for (const [i, id] of [real, effective, saved].entries()) process.memory.writeU32(args.address(i), id);
    return 0;
  };

/** setfsuid(2), setfsgid(2): give what it was, whether or not it is another now. */
const setForFiles =
  (kind: Kind): Handler =>
  ({ credentials }, _thread, args) => {
    const ids = kind.of(credentials);
    const before = ids.file;
    const id = args.u32(0);
    const isKnown = [ids.real, ids.effective, ids.saved, ids.file].includes(id);
    if (id !== NONE && (isKnown || credentials.has(kind.capability))) ids.file = id;
    return before;
  };

const getgroups: Handler = (process, _thread, args) => {
  const { groups } = process.credentials;
  const size = args.i32(0);
  if (size < 0 || (size > 0 && size < groups.length)) throw new SyscallError("EINVAL");
  if (size > 0) for (const [i, id] of groups.entries()) process.memory.writeU32(args.address(1) + 4 * i, id);
  return groups.length;
};

const setgroups: Handler = (process, _thread, args) => {
  check(process.credentials.has(CAP.SETGID));
  const count = args.u32(0);
  if (count > NGROUPS_MAX) throw new SyscallError("EINVAL");
  const ids = Array.from({ length: count }, (_, i) => process.memory.readU32(args.address(1) + 4 * i));
  process.credentials.groups = ids.toSorted((a, b) => a - b);
  return 0;
};

/** Versions of struct __user_cap_header_struct, and how many words of 32 capabilities each has. */
const VERSIONS: ReadonlyMap<number, number> = new Map([
  [0x1998_0330, 1],
  [0x2007_1026, 2],
  [0x2008_0522, 2],
]);
const NEWEST = 0x2008_0522;

/** The words of each set, and of whom. @throws SyscallError EINVAL, with the newest version stored, as Linux does */
function capabilityHeader(process: LinuxProcess, args: Args): { words: number; pid: number } {
  const [header, data] = [args.address(0), args.address(1)];
  const words = VERSIONS.get(process.memory.readU32(header));
  if (words === undefined) {
    process.memory.writeU32(header, NEWEST);
    // Asking for the version alone is no error.
    if (data !== 0) throw new SyscallError("EINVAL");
    return { words: 0, pid: 0 };
  }
  const pid = process.memory.readI32(header + 4);
  if (pid < 0) throw new SyscallError("EINVAL");
  return { words, pid };
}

/** capget(2): effective, permitted, inheritable, 32 capabilities at a time. */
const capget: Handler = (process, _thread, args) => {
  const { words, pid } = capabilityHeader(process, args);
  const target = pid === 0 ? process : process.kernel.processOf(pid);
  if (target === undefined) throw new SyscallError("ESRCH");
  const { effective, permitted, inheritable } = target.credentials;
  const at = args.address(1);
  for (let word = 0; at !== 0 && word < words; word++) {
    for (const [i, set] of [effective, permitted, inheritable].entries()) {
      process.memory.writeU32(at + word * 12 + i * 4, Number((set >> BigInt(32 * word)) & 0xffff_ffffn));
    }
  }
  return 0;
};

/** capset(2): fewer permitted ones, effective ones among those, inheritable ones of both (security/commoncap.c). */
const capset: Handler = (process, _thread, args) => {
  const { words, pid } = capabilityHeader(process, args);
  if (pid !== 0 && process.kernel.processOf(pid) !== process) throw new SyscallError("EPERM");
  const [effective, permitted, inheritable] = [0, 1, 2].map((i) => {
    let set = 0n;
    for (let word = 0; word < words; word++) {
      set |= BigInt(process.memory.readU32(args.address(1) + word * 12 + i * 4)) << BigInt(32 * word);
    }
    return set & ALL;
  });
  const { credentials } = process;
  const isWithin = (set: bigint, limit: bigint): boolean => (set & ~limit) === 0n;
  check(isWithin(permitted, credentials.permitted) && isWithin(effective, permitted));
  const may = credentials.inheritable | (credentials.has(CAP.SETPCAP) ? credentials.bounding : credentials.permitted);
  check(isWithin(inheritable, may));
  Object.assign(credentials, { effective, permitted, inheritable });
  // An ambient one is never without the two others.
  credentials.ambient &= permitted & inheritable;
  return 0;
};

const one =
  (value: (credentials: Credentials) => number): Handler =>
  ({ credentials }) =>
    value(credentials);
const getuid = one(({ user }) => user.real);
const getgid = one(({ group }) => group.real);
const geteuid = one(({ user }) => user.effective);
const getegid = one(({ group }) => group.effective);

const NOTE = "files are used with the rights of the user who runs goemu";

export const CREDENTIAL_SYSCALLS = [
  row(102, "getuid", [], getuid),
  row(104, "getgid", [], getgid),
  row(105, "setuid", ["int"], setId(USER), NOTE),
  row(106, "setgid", ["int"], setId(GROUP), NOTE),
  row(107, "geteuid", [], geteuid),
  row(108, "getegid", [], getegid),
  row(113, "setreuid", ["int", "int"], setTwo(USER), NOTE),
  row(114, "setregid", ["int", "int"], setTwo(GROUP), NOTE),
  row(115, "getgroups", ["int", "address"], getgroups),
  row(116, "setgroups", ["size", "address"], setgroups, NOTE),
  row(117, "setresuid", ["int", "int", "int"], setThree(USER), NOTE),
  row(118, "getresuid", ["address", "address", "address"], getThree(USER)),
  row(119, "setresgid", ["int", "int", "int"], setThree(GROUP), NOTE),
  row(120, "getresgid", ["address", "address", "address"], getThree(GROUP)),
  row(122, "setfsuid", ["int"], setForFiles(USER), NOTE),
  row(123, "setfsgid", ["int"], setForFiles(GROUP), NOTE),
  row(125, "capget", ["address", "address"], capget),
  row(126, "capset", ["address", "address"], capset, "those that allow what the host does not change nothing"),
];
