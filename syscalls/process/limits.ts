import { SyscallError } from "../abi/errno.ts";
import type { LinuxProcess } from "../linux-process.ts";

/** Resource numbers (include/uapi/asm-generic/resource.h). */
export const RLIMIT = {
  CPU: 0,
  FSIZE: 1,
  DATA: 2,
  STACK: 3,
  CORE: 4,
  RSS: 5,
  NPROC: 6,
  NOFILE: 7,
  MEMLOCK: 8,
  AS: 9,
  SIGPENDING: 11,
  MSGQUEUE: 12,
  NICE: 13,
  RTPRIO: 14,
} as const;
const RESOURCES = 16;

export const RLIM_INFINITY = 2n ** 64n - 1n;

export interface Limit {
  readonly soft: bigint;
  readonly hard: bigint;
}

/** Size of the main thread's stack in bytes. */
export const STACK_SIZE = 8 * 2 ** 20;

/** Resource limits as a login session has them. Those on descriptors, queued signals, the stack,
 * memory (AS and DATA), files' size and CPU time are enforced. */
export class Limits {
  readonly #limits = new Map<number, Limit>([
    [RLIMIT.STACK, { soft: BigInt(STACK_SIZE), hard: RLIM_INFINITY }],
    [RLIMIT.CORE, { soft: 0n, hard: RLIM_INFINITY }],
    [RLIMIT.NOFILE, { soft: 1024n, hard: 1_048_576n }],
    [RLIMIT.SIGPENDING, { soft: 16_384n, hard: 16_384n }],
    [RLIMIT.MSGQUEUE, { soft: 819_200n, hard: 819_200n }],
    [RLIMIT.NICE, { soft: 0n, hard: 0n }],
    [RLIMIT.RTPRIO, { soft: 0n, hard: 0n }],
    [RLIMIT.MEMLOCK, { soft: 8_388_608n, hard: 8_388_608n }],
  ]);

  /** A copy for a new process. */
  fork(): Limits {
    const copy = new Limits();
    for (const [resource, limit] of this.#limits) copy.#limits.set(resource, limit);
    return copy;
  }

  /** @throws SyscallError EINVAL for an unknown resource */
  get(resource: number): Limit {
    if (resource >= RESOURCES) throw new SyscallError("EINVAL");
    return this.#limits.get(resource) ?? { soft: RLIM_INFINITY, hard: RLIM_INFINITY };
  }

  /** @throws SyscallError EINVAL for soft above hard, EPERM for raising the hard limit without privilege */
  set(resource: number, limit: Limit, privileged: boolean): void {
    const before = this.get(resource);
    if (limit.soft > limit.hard) throw new SyscallError("EINVAL");
    if (limit.hard > before.hard && !privileged) throw new SyscallError("EPERM");
    this.#limits.set(resource, limit);
  }
}

/** May the address space of a process grow by so many bytes (RLIMIT_AS), of which so many are promised (RLIMIT_DATA)? */
export function mayGrow({ memory, limits }: LinuxProcess, mapped: number, promised: number): boolean {
  const { mappedBytes, promisedBytes } = memory.space;
  const exceeds = (resource: number, bytes: number): boolean => BigInt(bytes) > limits.get(resource).soft;
  if (mapped > 0 && exceeds(RLIMIT.AS, mappedBytes + mapped)) return false;
  return promised <= 0 || !exceeds(RLIMIT.DATA, promisedBytes + promised);
}
