/** Capabilities by number (include/uapi/linux/capability.h). */
export const CAP = {
  KILL: 5,
  SETGID: 6,
  SETUID: 7,
  SETPCAP: 8,
  IPC_OWNER: 15,
  SYS_CHROOT: 18,
  SYS_PTRACE: 19,
  SYS_ADMIN: 21,
  SYS_NICE: 23,
  SYS_RESOURCE: 24,
} as const;
