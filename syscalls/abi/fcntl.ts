/**
 * open(2) and fcntl(2) constants of x86-64 Linux: include/uapi/asm-generic/fcntl.h (x86-64 overrides nothing) and
 * include/uapi/linux/fcntl.h.
 */
export const O_ACCMODE = 0o3;
export const O_RDONLY = 0o0;
export const O_WRONLY = 0o1;
export const O_RDWR = 0o2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_NOCTTY = 0o400;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_DSYNC = 0o10000;
export const O_ASYNC = 0o20000;
export const O_DIRECT = 0o40000;
export const O_LARGEFILE = 0o100000;
export const O_DIRECTORY = 0o200000;
export const O_NOFOLLOW = 0o400000;
export const O_NOATIME = 0o1000000;
export const O_CLOEXEC = 0o2000000;
/** O_SYNC is two bits, one of them O_DSYNC. */
export const O_SYNC = 0o4010000;
export const O_PATH = 0o10000000;
/** O_TMPFILE is two bits, one of them O_DIRECTORY. */
export const O_TMPFILE = 0o20200000;

/** Flags that only steer the opening and that F_GETFL does not show (fs/open.c, do_dentry_open). */
export const O_OPEN_ONLY = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;
/** Flags that F_SETFL may change (fs/fcntl.c, SETFL_MASK). */
export const SETFL_MASK = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;

export const OPEN_FLAG_NAMES: readonly (readonly [number, string])[] = [
  [O_TMPFILE, "O_TMPFILE"],
  [O_SYNC, "O_SYNC"],
  [O_CREAT, "O_CREAT"],
  [O_EXCL, "O_EXCL"],
  [O_NOCTTY, "O_NOCTTY"],
  [O_TRUNC, "O_TRUNC"],
  [O_APPEND, "O_APPEND"],
  [O_NONBLOCK, "O_NONBLOCK"],
  [O_DSYNC, "O_DSYNC"],
  [O_ASYNC, "O_ASYNC"],
  [O_DIRECT, "O_DIRECT"],
  [O_LARGEFILE, "O_LARGEFILE"],
  [O_DIRECTORY, "O_DIRECTORY"],
  [O_NOFOLLOW, "O_NOFOLLOW"],
  [O_NOATIME, "O_NOATIME"],
  [O_CLOEXEC, "O_CLOEXEC"],
  [O_PATH, "O_PATH"],
];

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
/** faccessat2 and unlinkat give bit 0x200 two meanings. */
export const AT_EACCESS = 0x200;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_NO_AUTOMOUNT = 0x800;
export const AT_EMPTY_PATH = 0x1000;
export const AT_STATX_SYNC_TYPE = 0x6000;

export const F_DUPFD = 0;
export const F_GETFD = 1;
export const F_SETFD = 2;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_GETLK = 5;
export const F_SETLK = 6;
export const F_SETLKW = 7;
export const F_SETOWN = 8;
export const F_GETOWN = 9;
export const F_SETSIG = 10;
export const F_GETSIG = 11;
export const F_SETOWN_EX = 15;
export const F_GETOWN_EX = 16;
export const F_OFD_GETLK = 36;
export const F_OFD_SETLK = 37;
export const F_OFD_SETLKW = 38;
export const F_DUPFD_CLOEXEC = 1030;
export const F_SETPIPE_SZ = 1031;
export const F_GETPIPE_SZ = 1032;
export const F_ADD_SEALS = 1033;
export const F_GET_SEALS = 1034;

export const FCNTL_NAMES: ReadonlyMap<number, string> = new Map([
  [F_DUPFD, "F_DUPFD"],
  [F_GETFD, "F_GETFD"],
  [F_SETFD, "F_SETFD"],
  [F_GETFL, "F_GETFL"],
  [F_SETFL, "F_SETFL"],
  [F_GETLK, "F_GETLK"],
  [F_SETLK, "F_SETLK"],
  [F_SETLKW, "F_SETLKW"],
  [F_SETOWN, "F_SETOWN"],
  [F_GETOWN, "F_GETOWN"],
  [F_SETSIG, "F_SETSIG"],
  [F_GETSIG, "F_GETSIG"],
  [F_SETOWN_EX, "F_SETOWN_EX"],
  [F_GETOWN_EX, "F_GETOWN_EX"],
  [F_OFD_GETLK, "F_OFD_GETLK"],
  [F_OFD_SETLK, "F_OFD_SETLK"],
  [F_OFD_SETLKW, "F_OFD_SETLKW"],
  [F_DUPFD_CLOEXEC, "F_DUPFD_CLOEXEC"],
  [F_SETPIPE_SZ, "F_SETPIPE_SZ"],
  [F_GETPIPE_SZ, "F_GETPIPE_SZ"],
  [F_ADD_SEALS, "F_ADD_SEALS"],
  [F_GET_SEALS, "F_GET_SEALS"],
]);

export const FD_CLOEXEC = 1;

export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;

export const SEEK_SET = 0;
export const SEEK_CUR = 1;
export const SEEK_END = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

export const R_OK = 4;
export const W_OK = 2;
export const X_OK = 1;

/** Longest path with its NUL, longest name (include/uapi/linux/limits.h). */
export const PATH_MAX = 4096;
export const NAME_MAX = 255;
/** Most symbolic links followed in one resolution (include/linux/namei.h, MAXSYMLINKS). */
export const MAXSYMLINKS = 40;
/** Most bytes that one read or write moves (include/linux/fs.h, MAX_RW_COUNT). */
export const MAX_RW_COUNT = 0x7fff_f000;
/** Most pieces of a readv or writev (include/uapi/linux/uio.h, UIO_MAXIOV). */
export const UIO_MAXIOV = 1024;
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;
