import type { SyscallRow } from "../table.ts";
import { DESCRIPTOR_SYSCALLS } from "./descriptors.ts";
import { DIRECTORY_SYSCALLS } from "./directories.ts";
import { EPOLL_SYSCALLS } from "./epoll-calls.ts";
import { INOTIFY_SYSCALLS } from "./inotify-calls.ts";
import { IOCTL_SYSCALLS } from "./ioctl.ts";
import { METADATA_SYSCALLS } from "./metadata.ts";
import { NAME_SYSCALLS } from "./names.ts";
import { OPEN_SYSCALLS } from "./open.ts";
import { POLL_SYSCALLS } from "./poll.ts";
import { READ_WRITE_SYSCALLS } from "./read-write.ts";
import { SEEK_SYSCALLS } from "./seek.ts";
import { STAT_SYSCALLS } from "./stat.ts";
import { TRANSFER_SYSCALLS } from "./transfer.ts";

/** The system calls that work on files. */
export const FILE_SYSCALLS: readonly SyscallRow[] = [
  ...READ_WRITE_SYSCALLS,
  ...OPEN_SYSCALLS,
  ...DESCRIPTOR_SYSCALLS,
  ...STAT_SYSCALLS,
  ...SEEK_SYSCALLS,
  ...DIRECTORY_SYSCALLS,
  ...EPOLL_SYSCALLS,
  ...METADATA_SYSCALLS,
  ...NAME_SYSCALLS,
  ...POLL_SYSCALLS,
  ...TRANSFER_SYSCALLS,
  ...IOCTL_SYSCALLS,
  ...INOTIFY_SYSCALLS,
];
