/** Names of numbers in arguments, as the kernel's headers have them. Sources: include/uapi/linux and asm-generic. */
export type Names = ReadonlyMap<number, string>;
export type Bits = readonly (readonly [bit: number, name: string])[];

const count = (names: readonly string[], first = 0): Names => new Map(names.map((name, i) => [first + i, name]));

export const WHENCE = count(["SEEK_SET", "SEEK_CUR", "SEEK_END", "SEEK_DATA", "SEEK_HOLE"]);

/** mman-common.h */
export const PROT: Bits = [
  [1, "PROT_READ"],
  [2, "PROT_WRITE"],
  [4, "PROT_EXEC"],
];
export const MAP_TYPES: Names = new Map([
  [1, "MAP_SHARED"],
  [2, "MAP_PRIVATE"],
  [3, "MAP_SHARED_VALIDATE"],
]);
export const MAP: Bits = [
  [0x10, "MAP_FIXED"],
  [0x20, "MAP_ANONYMOUS"],
  [0x40, "MAP_32BIT"],
  [0x100, "MAP_GROWSDOWN"],
  [0x800, "MAP_DENYWRITE"],
  [0x1000, "MAP_EXECUTABLE"],
  [0x2000, "MAP_LOCKED"],
  [0x4000, "MAP_NORESERVE"],
  [0x8000, "MAP_POPULATE"],
  [0x1_0000, "MAP_NONBLOCK"],
  [0x2_0000, "MAP_STACK"],
  [0x4_0000, "MAP_HUGETLB"],
  [0x8_0000, "MAP_SYNC"],
  [0x10_0000, "MAP_FIXED_NOREPLACE"],
];
export const MADVICE: Names = new Map([
  [0, "MADV_NORMAL"],
  [1, "MADV_RANDOM"],
  [2, "MADV_SEQUENTIAL"],
  [3, "MADV_WILLNEED"],
  [4, "MADV_DONTNEED"],
  [8, "MADV_FREE"],
  [9, "MADV_REMOVE"],
  [10, "MADV_DONTFORK"],
  [11, "MADV_DOFORK"],
  [12, "MADV_MERGEABLE"],
  [13, "MADV_UNMERGEABLE"],
  [14, "MADV_HUGEPAGE"],
  [15, "MADV_NOHUGEPAGE"],
  [16, "MADV_DONTDUMP"],
  [17, "MADV_DODUMP"],
  [20, "MADV_COLD"],
  [21, "MADV_PAGEOUT"],
  [22, "MADV_POPULATE_READ"],
  [23, "MADV_POPULATE_WRITE"],
  [25, "MADV_COLLAPSE"],
]);

export const SIGMASK_HOW = count(["SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK"]);

/** sched.h */
export const CLONE: Bits = [
  [0x100, "CLONE_VM"],
  [0x200, "CLONE_FS"],
  [0x400, "CLONE_FILES"],
  [0x800, "CLONE_SIGHAND"],
  [0x1000, "CLONE_PIDFD"],
  [0x2000, "CLONE_PTRACE"],
  [0x4000, "CLONE_VFORK"],
  [0x8000, "CLONE_PARENT"],
  [0x1_0000, "CLONE_THREAD"],
  [0x2_0000, "CLONE_NEWNS"],
  [0x4_0000, "CLONE_SYSVSEM"],
  [0x8_0000, "CLONE_SETTLS"],
  [0x10_0000, "CLONE_PARENT_SETTID"],
  [0x20_0000, "CLONE_CHILD_CLEARTID"],
  [0x40_0000, "CLONE_DETACHED"],
  [0x80_0000, "CLONE_UNTRACED"],
  [0x100_0000, "CLONE_CHILD_SETTID"],
];

/** futex.h: the command; 128 is FUTEX_PRIVATE_FLAG, 256 FUTEX_CLOCK_REALTIME. */
export const FUTEX = count([
  "FUTEX_WAIT",
  "FUTEX_WAKE",
  "FUTEX_FD",
  "FUTEX_REQUEUE",
  "FUTEX_CMP_REQUEUE",
  "FUTEX_WAKE_OP",
  "FUTEX_LOCK_PI",
  "FUTEX_UNLOCK_PI",
  "FUTEX_TRYLOCK_PI",
  "FUTEX_WAIT_BITSET",
  "FUTEX_WAKE_BITSET",
  "FUTEX_WAIT_REQUEUE_PI",
  "FUTEX_CMP_REQUEUE_PI",
  "FUTEX_LOCK_PI2",
]);

export const CLOCKS = count([
  "CLOCK_REALTIME",
  "CLOCK_MONOTONIC",
  "CLOCK_PROCESS_CPUTIME_ID",
  "CLOCK_THREAD_CPUTIME_ID",
  "CLOCK_MONOTONIC_RAW",
  "CLOCK_REALTIME_COARSE",
  "CLOCK_MONOTONIC_COARSE",
  "CLOCK_BOOTTIME",
  "CLOCK_REALTIME_ALARM",
  "CLOCK_BOOTTIME_ALARM",
  "CLOCK_SGI_CYCLE",
  "CLOCK_TAI",
]);

/** arch/x86/include/uapi/asm/prctl.h */
export const ARCH_CODES: Names = new Map([
  ...count(["ARCH_SET_GS", "ARCH_SET_FS", "ARCH_GET_FS", "ARCH_GET_GS"], 0x1001),
  ...count(["ARCH_GET_CPUID", "ARCH_SET_CPUID"], 0x1011),
]);

export const RESOURCES = count([
  "RLIMIT_CPU",
  "RLIMIT_FSIZE",
  "RLIMIT_DATA",
  "RLIMIT_STACK",
  "RLIMIT_CORE",
  "RLIMIT_RSS",
  "RLIMIT_NPROC",
  "RLIMIT_NOFILE",
  "RLIMIT_MEMLOCK",
  "RLIMIT_AS",
  "RLIMIT_LOCKS",
  "RLIMIT_SIGPENDING",
  "RLIMIT_MSGQUEUE",
  "RLIMIT_NICE",
  "RLIMIT_RTPRIO",
  "RLIMIT_RTTIME",
]);

/** prctl.h */
export const PRCTL: Names = new Map([
  [1, "PR_SET_PDEATHSIG"],
  [2, "PR_GET_PDEATHSIG"],
  [3, "PR_GET_DUMPABLE"],
  [4, "PR_SET_DUMPABLE"],
  [15, "PR_SET_NAME"],
  [16, "PR_GET_NAME"],
  [21, "PR_GET_SECCOMP"],
  [22, "PR_SET_SECCOMP"],
  [23, "PR_CAPBSET_READ"],
  [24, "PR_CAPBSET_DROP"],
  [36, "PR_SET_CHILD_SUBREAPER"],
  [38, "PR_SET_NO_NEW_PRIVS"],
  [39, "PR_GET_NO_NEW_PRIVS"],
  [0x5356_4d41, "PR_SET_VMA"],
]);

export const ACCESS: Bits = [
  [4, "R_OK"],
  [2, "W_OK"],
  [1, "X_OK"],
];
export const AT_FLAGS: Bits = [
  [0x100, "AT_SYMLINK_NOFOLLOW"],
  [0x200, "AT_EACCESS"],
  [0x400, "AT_SYMLINK_FOLLOW"],
  [0x800, "AT_NO_AUTOMOUNT"],
  [0x1000, "AT_EMPTY_PATH"],
];
export const UNLINK: Bits = [[0x200, "AT_REMOVEDIR"]];
export const EVENTFD: Bits = [
  [1, "EFD_SEMAPHORE"],
  [0o2000000, "EFD_CLOEXEC"],
  [0o4000, "EFD_NONBLOCK"],
];
export const FLOCK: Bits = [
  [1, "LOCK_SH"],
  [2, "LOCK_EX"],
  [4, "LOCK_NB"],
  [8, "LOCK_UN"],
];

export const FILE_TYPES: Names = new Map([
  [0o140000, "S_IFSOCK"],
  [0o120000, "S_IFLNK"],
  [0o100000, "S_IFREG"],
  [0o060000, "S_IFBLK"],
  [0o040000, "S_IFDIR"],
  [0o020000, "S_IFCHR"],
  [0o010000, "S_IFIFO"],
]);
