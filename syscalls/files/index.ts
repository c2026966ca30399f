import type { SyscallRow } from "../table.ts";
import { DESCRIPTOR_SYSCALLS } from "./descriptors.ts";
import { IOCTL_SYSCALLS } from "./ioctl.ts";
import { OPEN_SYSCALLS } from "./open.ts";
import { READ_WRITE_SYSCALLS } from "./read-write.ts";
import { SEEK_SYSCALLS } from "./seek.ts";
import { STAT_SYSCALLS } from "./stat.ts";

/** The system calls that work on files. */
export const FILE_SYSCALLS: readonly SyscallRow[] = [
  ...READ_WRITE_SYSCALLS,
  ...OPEN_SYSCALLS,
  ...DESCRIPTOR_SYSCALLS,
  ...STAT_SYSCALLS,
  ...SEEK_SYSCALLS,
  ...IOCTL_SYSCALLS,
];
